//! Pictures and schemas over the interface.

use super::*;

async fn started(server: &Server, workflow: &str, wait: &str) -> String {
    let order = json!({ "pack": "test", "workflow": workflow, "input": { "size": 1 } });
    server.post(&format!("/v1/instances{wait}"), order).await.json()["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_instance_s_picture_has_the_status_of_its_tasks() {
    let server = Server::new().await;
    let check = async |workflow, wait, expected: &str| {
        let id = started(&server, workflow, wait).await;
        let answer = server.get(&format!("/v1/instances/{id}/diagram")).await;
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        assert_eq!(answer.headers["content-type"], "text/vnd.mermaid; charset=utf-8");
        assert!(text.starts_with("flowchart TD\n") && text.contains(expected), "{text}");
    };
    check("echo", "?wait=30", "class t_one completed").await;
    check("hang", "", "class t_one running").await;
}

#[tokio::test]
async fn a_picture_is_plain_text_for_who_asks_for_that() {
    let server = Server::new().await;
    let id = started(&server, "echo", "?wait=30").await;
    let answer = server.ask("GET", &format!("/v1/instances/{id}/diagram"), &[("accept", "text/plain")], "").await;
    assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
    assert_eq!(server.get("/v1/workflows/nothing/nothing/diagram").await.problem(), "unknown-workflow");
}

#[tokio::test]
async fn the_schema_of_workflows_is_served() {
    let answer = Server::new().await.get("/v1/schemas/workflow.json").await;
    assert_eq!(answer.headers["content-type"], "application/schema+json");
    assert_eq!(answer.json()["title"], "Workflow");
}
