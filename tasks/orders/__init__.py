"""From a sheet to reserved serials: intake, check, confirmation, reservation, and the way back."""
