"""The coordinator: sessions, enrolment and aggregation. Never sees a video, a feature or a mask seed."""
