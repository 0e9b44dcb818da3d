//! The workflows of the storage pack on the real engine against the double of the block API, in this process and without
//! waiting: every branch, every fault of every request, every defect that is known of such installations. What only a
//! server shows is in `provision_volume.rs`.

#[path = "storage/defects.rs"]
mod defects;
#[path = "storage/matrix.rs"]
mod matrix;
#[path = "storage/orders.rs"]
mod orders;
#[path = "storage/scenes.rs"]
mod scenes;
