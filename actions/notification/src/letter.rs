//! A notification as mail, plain and as HTML. Who gets it is looked up in the connection's address book.

use orchestrator_sdk::mail::{self, Outcome, escape_html};
use orchestrator_sdk::notification::Recipients;
use orchestrator_sdk::{Context, Error, log};

use crate::channels::Told;
use crate::input::News;

const CONNECTION: &str = "mail";

/// The name that the address book has for everybody.
const BROADCAST: &str = "broadcast";

pub(crate) fn send(ctx: &Context, news: &News) -> Result<Told, Error> {
    let mut message = mail::message(CONNECTION).subject(&news.title).text(&plain(news)).html(&html(news));
    message.to = recipients(news);
    message.severity = Some(news.severity);
    message.topic = news.topic.clone();
    message.headers = vec![("X-Orchestrator-Instance".to_owned(), ctx.instance().to_owned())];
    Ok(match message.send()? {
        Outcome::Filtered(rule) => Told::Skipped(rule),
        Outcome::Accepted(accepted) => {
            let missing = accepted.missing.join(", ");
            let note = (!missing.is_empty()).then(|| format!("not reached: {missing}"));
            if let Some(note) = &note {
                log::warn!("mail: {note}");
            }
            Told::Taken(Some(accepted.message_id), note)
        }
    })
}

fn recipients(news: &News) -> Vec<String> {
    match &news.recipients {
        _ if !news.mail_to.is_empty() => news.mail_to.clone(),
        Recipients::Broadcast => vec![BROADCAST.to_owned()],
        Recipients::Entities(entities) => entities.clone(),
    }
}

fn plain(news: &News) -> String {
    let parts = [Some(&news.title), news.description.as_ref(), news.link.as_ref()];
    parts.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join("\n\n")
}

fn html(news: &News) -> String {
    let mut html = format!("<p><strong>{}</strong></p>", escape_html(&news.title));
    for paragraph in news.description.iter().flat_map(|text| text.split("\n\n")) {
        html.push_str(&format!("<p>{}</p>", escape_html(paragraph).replace('\n', "<br>")));
    }
    if let Some(link) = &news.link {
        let link = escape_html(link);
        html.push_str(&format!("<p><a href=\"{link}\">{link}</a></p>"));
    }
    html
}
