"""What is defined at a matrix: reports for people, files and notebooks."""
