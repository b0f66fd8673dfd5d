"""What is created: sent once and found again, waited for, mapped over inputs, kept in a journal."""
