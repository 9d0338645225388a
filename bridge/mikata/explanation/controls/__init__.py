"""What can be measured of heat maps without knowing the truth: nothing is judged here, only measured."""
