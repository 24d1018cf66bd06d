"""What the strategies that use PEFT share."""
