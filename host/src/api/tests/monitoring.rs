//! Probes and metrics: who sees them, and that their labels stay few.

use super::*;
use crate::door::{Figures, Visitor};

/// The metrics as they are shown to whoever is at this address.
async fn metrics(server: &Server, address: &str) -> Answer {
    let mut request = request("GET", "/metrics", &[], "");
    request.extensions_mut().insert(Arc::new(Visitor::at(address.parse().unwrap())));
    Answer::read(server.send(request).await).await
}

fn text(answer: &Answer) -> String {
    String::from_utf8(answer.body.to_vec()).unwrap()
}

#[tokio::test]
async fn probes_tell_life_and_readiness_apart() {
    let server = Server::new().await;
    for path in ["/livez", "/readyz"] {
        let answer = server.get(path).await;
        assert_eq!((answer.status, text(&answer).as_str()), (StatusCode::OK, "ok\n"), "{path}");
    }
    server.rooms.stopping.cancel();
    assert_eq!(server.get("/livez").await.status, StatusCode::OK, "whoever stops lives");
    assert_eq!(server.get("/readyz").await.problem(), "stopping");
}

#[tokio::test]
async fn metrics_are_for_this_machine_unless_they_are_public() {
    let server = Server::new().await;
    let answer = metrics(&server, "127.0.0.1:1").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.headers["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
    assert_eq!(metrics(&server, "10.0.0.1:1").await.problem(), "forbidden");
    assert_eq!(server.get("/metrics").await.problem(), "forbidden", "whose address is not known is not here");
    server.rooms.metrics.attach(Arc::default(), true);
    assert_eq!(metrics(&server, "10.0.0.1:1").await.status, StatusCode::OK);
}

#[tokio::test]
async fn metrics_count_by_declared_route_and_never_by_path() {
    let server = Server::new().await;
    for id in ["0199c1f0-0000-7000-8000-000000000000", "0199c1f0-0000-7000-8000-000000000001"] {
        server.get(&format!("/v1/instances/{id}")).await;
    }
    server.get("/made/up").await;
    server.ask("BREW", "/v1/packs", &[], "").await;
    let text = text(&metrics(&server, "127.0.0.1:1").await);
    for line in [
        r#"orchestrator_http_requests_total{method="GET",route="/v1/instances/{id}",status="404"} 2"#,
        r#"orchestrator_http_requests_total{method="GET",route="none",status="404"} 1"#,
        r#"orchestrator_http_requests_total{method="other",route="/v1/packs",status="405"} 1"#,
        r#"orchestrator_http_request_duration_seconds_count{method="GET",route="/v1/instances/{id}"} 2"#,
        // The one that asks for the metrics.
        "orchestrator_http_requests_under_way 1",
    ] {
        assert!(text.contains(line), "{line}\nis missing in\n{text}");
    }
    assert!(!text.contains("0199c1f0") && !text.contains("made/up"), "{text}");
    assert!(text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn metrics_tell_work_and_door() {
    let server = Server::new().await;
    let door = Arc::new(Figures::default());
    door.certificate(Some("2030-01-01T00:00:00Z".parse().unwrap()));
    let _open = door.connection();
    drop(door.connection());
    server.rooms.metrics.attach(door, false);
    let start = json!({ "pack": "test", "workflow": "echo", "input": { "size": 1 } });
    let id = server.post("/v1/instances", start).await.json()["id"].as_str().unwrap().to_owned();
    server.get(&format!("/v1/instances/{id}?wait=10")).await;
    let text = text(&metrics(&server, "127.0.0.1:1").await);
    for line in [
        "orchestrator_instances_started_total 1",
        r#"orchestrator_instances_ended_total{status="completed"} 1"#,
        r#"orchestrator_instances{status="live"} 0"#,
        "orchestrator_connections 1",
        "orchestrator_connections_accepted_total 2",
        "orchestrator_tls_certificate_expiry_timestamp_seconds 1893456000",
        "orchestrator_followers 0",
        "orchestrator_build_info{version=",
        "orchestrator_memory_resident_bytes ",
    ] {
        assert!(text.contains(line), "{line}\nis missing in\n{text}");
    }
    let health = server.get("/v1/health").await.json();
    assert_eq!(health["certificateExpires"], "2030-01-01T00:00:00Z");
}
