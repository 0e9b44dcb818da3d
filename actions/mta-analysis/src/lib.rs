//! Analyses of applications by the hub of Konveyor, sold as Migration Toolkit for Applications (MTA) 6.2 and 7: the
//! application, the task group or task that analyses it, the counts of what was found, and the export of a migration
//! wave to an issue tracker. Each action does one step and returns the state it saw; waiting is the workflow's, so that
//! it survives restarts and shows in the history.
//!
//! The connection `hub` carries the hub's address (with `/hub`, where the hub stands behind MTA's own address) and the
//! credentials. Nothing here knows either.

mod analyses;
mod api;
mod applications;
mod issues;
mod repository;
mod waves;

pub use analyses::{
    Analyses, Analysis, AnalysisId, CreateAnalysis, FindAnalyses, Phase, SubmitAnalysis, Unit, create_analysis,
    find_analyses, get_analysis, probe_create_analysis, remove_analysis, submit_analysis,
};
pub use applications::{
    Application, ApplicationId, EnsureApplication, OwnApplication, OwnRemoved, ensure_application,
    probe_ensure_application, remove_application, remove_own_application,
};
pub use issues::{CountIssues, Counts, Tally, count_issues};
pub use waves::{
    EnsureTicket, EnsureWave, FindTracker, Ticket, TicketId, Tracker, Wave, ensure_ticket, ensure_wave, find_tracker,
    get_ticket, probe_ensure_ticket, probe_ensure_wave,
};

orchestrator_sdk::export_actions! {
    "ensure-application" => { run: ensure_application, probe: probe_ensure_application },
    "remove-application" => remove_application,
    "remove-own-application" => remove_own_application,
    "create-analysis" => { run: create_analysis, probe: probe_create_analysis },
    "submit-analysis" => submit_analysis,
    "get-analysis" => get_analysis,
    "find-analyses" => find_analyses,
    "remove-analysis" => remove_analysis,
    "count-issues" => count_issues,
    "find-tracker" => find_tracker,
    "ensure-wave" => { run: ensure_wave, probe: probe_ensure_wave },
    "ensure-ticket" => { run: ensure_ticket, probe: probe_ensure_ticket },
    "get-ticket" => get_ticket,
}
