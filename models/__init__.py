"""Networks: the frozen CNN, the classifier and its bundle."""
