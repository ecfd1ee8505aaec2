"""What is asked of arguments, in one place; errors name the argument, its value and what is allowed."""
