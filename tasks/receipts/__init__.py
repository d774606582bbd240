"""From what customs says to states: inbox, decisions, adoption, the result sheet."""
