"""Class activation maps: from a layer's activations and the scores' gradients to one value for each cell.

``A`` are the activations (N, C, h, w), ``G`` the gradients of K scores with respect to them
(K, N, C, h, w): ``G_c = d score_k / d A_c``. Each function gives (N, K, h, w), before the positive part, which
every method takes last: heat is what speaks for a class. Cells are (i, j) below, channels c.
"""

from __future__ import annotations

import torch
from torch import Tensor


def grad_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """``sum over c of mean_ij(G_c) A_c``.

    Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV
    2017, doi 10.1109/ICCV.2017.74, equations 1 and 2.
    """
    return torch.einsum("knc,nchw->nkhw", gradients.mean((-2, -1)), activations)


def grad_cam_plus_plus(activations: Tensor, gradients: Tensor) -> Tensor:
    """``sum over c of w_c A_c``, ``w_c = sum over ij of alpha_cij max(0, G_cij)``.

    ``alpha_cij = G_cij^2 / (2 G_cij^2 + sum_ab(A_cab) G_cij^3)``, 0 where the gradient is 0.

    Chattopadhay et al., "Grad-CAM++: Generalized Gradient-based Visual Explanations for Deep Convolutional
    Networks", WACV 2018, arXiv 1710.11063, equations 5, 7 and 19, without the factor ``exp(score)`` that all
    cells of a map share. There is no small number in the denominator: with one, as in other programs, the
    weights would depend on the unit of the score. It was derived for activations from 0 up, as behind a ReLU;
    of others a denominator may come close to 0, and its channel then outshines the rest.
    """
    positive = gradients.clamp(min=0)
    # numerator and denominator divided by G^2; where the positive part is 0, so is the weight
    weights = positive / (2 + activations.sum((-2, -1))[..., None, None] * positive)
    return torch.einsum("knc,nchw->nkhw", weights.sum((-2, -1)), activations)


def hires_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """``sum over c of G_c A_c``, cell by cell.

    Draelos and Carin, "Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural
    networks", 2020, arXiv 2011.08891, equation 5. Of a network that ends in one linear layer, the cells' values
    before the positive part sum to the score less its bias.
    """
    return torch.einsum("knchw,nchw->nkhw", gradients, activations)


def layer_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """``sum over c of max(0, G_c) A_c``, cell by cell.

    Jiang et al., "LayerCAM: Exploring Hierarchical Class Activation Maps for Localization", IEEE Transactions
    on Image Processing 30, 2021, doi 10.1109/TIP.2021.3089943, equations 5 to 7.
    """
    return torch.einsum("knchw,nchw->nkhw", gradients.clamp(min=0), activations)


def eigen_cam(activations: Tensor) -> Tensor:
    """Each cell's channels projected on their first principal component: (N, 1, h, w), the same for any class.

    Muhammad and Yeasin, "Eigen-CAM: Class Activation Map using Principal Components", IJCNN 2020, arXiv
    2008.00299: ``A V_1`` with ``A = U S V^T`` (h w, C). The channels' means over the cells are taken off first,
    as in the public implementations: without that the first component is mostly the mean. The sign, which a
    principal component has not, is the one whose extreme is positive (Chung and Ying, "Seg-Eigen-CAM", Applied
    Sciences 15(13), 2025, equation 13).
    """
    size = activations.shape[-2:]
    cells = activations.flatten(2).transpose(1, 2)
    centred = cells - cells.mean(1, keepdim=True)
    left, strength, _ = torch.linalg.svd(centred, full_matrices=False)
    projection = left[..., 0] * strength[:, :1]
    extreme = projection.gather(1, projection.abs().argmax(1, keepdim=True))
    projection = torch.where(extreme < 0, -projection, projection)
    # what rounding leaves of equal cells is no component
    rounding = torch.finfo(cells.dtype).eps * cells.abs().amax((1, 2)) * cells[0].numel() ** 0.5
    projection = torch.where((strength[:, 0] > rounding)[:, None], projection, 0.0)
    return projection.reshape(len(projection), 1, *size)
