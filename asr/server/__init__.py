"""Transcription for programs and people over HTTP and WebSocket; needs the [server] extra."""
