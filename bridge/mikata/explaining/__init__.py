"""What explanations say over many images: tables, intervals and a page. Above evaluation, which has the statistics."""
