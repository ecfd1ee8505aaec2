"""Random draws that JAX lacks, or makes slowly: chi-square and multinomial."""
