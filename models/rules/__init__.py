"""What is true of forms, orders and messages: functions over values, with the standard library alone."""
