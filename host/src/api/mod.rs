//! The REST API (axum): one file per resource.
