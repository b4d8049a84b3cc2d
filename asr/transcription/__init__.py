"""Bundle and audio → transcript, without torch."""
