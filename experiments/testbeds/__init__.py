"""What is compared on several kinds of data: families, groups and measures of samples, tokens, text and images."""
