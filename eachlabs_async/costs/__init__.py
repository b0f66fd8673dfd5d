"""What executions cost: sums of exact decimals by model, status, workflow or time, and charts of them."""
