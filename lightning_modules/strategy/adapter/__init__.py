"""Code shared by the strategies that use PEFT."""
