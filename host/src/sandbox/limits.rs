//! Limits of one attempt that wasmtime asks about while the guest runs.

use wasmtime::ResourceLimiter;

/// Elements of all tables of one guest; a table holds its functions, some thousands in a large one.
pub(super) const TABLE_ELEMENTS_MAX: usize = 100_000;

/// How much one guest may take.
pub(super) struct Limits {
    memory_bytes_max: usize,
    memory_bytes: usize,
    table_elements: usize,
    /// Whether the guest asked for more memory than it may have.
    pub(super) memory_refused: bool,
}

impl Limits {
    pub(super) fn new(memory_bytes_max: usize) -> Self {
        Self { memory_bytes_max, memory_bytes: 0, table_elements: 0, memory_refused: false }
    }
}

impl ResourceLimiter for Limits {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        // The sum over all memories counts: a component may have several.
        let total = self.memory_bytes - current.min(self.memory_bytes) + desired;
        if total > self.memory_bytes_max {
            self.memory_refused = true;
            return Ok(false);
        }
        self.memory_bytes = total;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.table_elements - current.min(self.table_elements) + desired;
        let fits = total <= TABLE_ELEMENTS_MAX;
        if fits {
            self.table_elements = total;
        }
        Ok(fits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_of_all_memories_is_limited() {
        let mut limits = Limits::new(100);
        assert!(limits.memory_growing(0, 60, None).unwrap());
        assert!(limits.memory_growing(0, 40, None).unwrap());
        assert!(!limits.memory_refused);
        assert!(!limits.memory_growing(60, 61, None).unwrap());
        assert!(limits.memory_refused);
        assert!(limits.memory_growing(60, 60, None).unwrap());
    }
}
