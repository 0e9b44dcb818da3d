//! How wasmtime is set up: every number here is a limit or a price of one attempt.

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::limits::TABLE_ELEMENTS_MAX;
use super::{SandboxConfig, SandboxError};

/// Places beside those of attempts, for components that are no actions (expressions).
const PLACES_FOR_OTHERS: u32 = 64;

/// Wasm frames of one guest, bytes; deeper recursion traps. The SDK's JSON reader needs a tenth of it.
const WASM_STACK_BYTES: usize = 512 << 10;

/// A guest's whole stack with the host's frames on top, bytes of address space.
const FIBER_STACK_BYTES: usize = 2 << 20;

/// Core instances of one component: its module, its adapters and shims. What JavaScript is compiled to has 13.
const CORE_INSTANCES_PER_COMPONENT: u32 = 24;

/// Memories and tables of one component; ordinary guests have one memory and up to two tables, those of JavaScript have
/// three memories and take the places of three.
const MEMORIES_PER_COMPONENT: u32 = 4;
const TABLES_PER_COMPONENT: u32 = 8;

/// Bytes of a memory, a table and a stack that are cleared by writing, so that the next guest finds them mapped: for so
/// few, writing is cheaper than giving pages back and faulting them in again.
const KEEP_RESIDENT_BYTES: usize = 64 << 10;

/// Memories are given back to the system in batches of this size: each call interrupts the other cores.
const DECOMMIT_BATCH: usize = 64;

pub(super) fn engine(config: &SandboxConfig) -> Result<Engine, SandboxError> {
    let mut wasm = Config::new();
    wasm.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(config)))
        .epoch_interruption(true)
        .max_wasm_stack(WASM_STACK_BYTES)
        .async_stack_size(FIBER_STACK_BYTES)
        .wasm_memory64(false)
        .native_unwind_info(false);
    Engine::new(&wasm).map_err(|error| SandboxError::Engine(format!("{error:#}")))
}

fn pool(config: &SandboxConfig) -> PoolingAllocationConfig {
    let places = config.attempts_max + PLACES_FOR_OTHERS;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(places)
        .total_stacks(places)
        .total_core_instances(places.saturating_mul(CORE_INSTANCES_PER_COMPONENT))
        .total_memories(places)
        .total_tables(places.saturating_mul(3))
        .max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT)
        .max_memories_per_component(MEMORIES_PER_COMPONENT)
        .max_tables_per_component(TABLES_PER_COMPONENT)
        .table_elements(TABLE_ELEMENTS_MAX)
        .max_memory_size(config.memory_bytes_max)
        .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
        .table_keep_resident(KEEP_RESIDENT_BYTES)
        // Clears only the pages a guest wrote, where the kernel can tell them (Linux 6.7 and later).
        .pagemap_scan(Enabled::Auto)
        .decommit_batch_size(DECOMMIT_BATCH);
    pool
}
