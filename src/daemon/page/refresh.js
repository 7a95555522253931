// Keeps the page as it is now, for whoever leaves it open. Without it the page is the same, until it is loaded again.
// Nothing is replaced under somebody's hands: neither while they type nor while a button has the focus.
"use strict";
setInterval(async () => {
    const main = document.querySelector("main");
    const busy = document.hidden || document.activeElement.closest("main, form") || !getSelection().isCollapsed;
    if (busy) return;
    try {
        const answer = await fetch("/", { cache: "no-store" });
        if (!answer.ok) throw new Error(answer.statusText);
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
        main.replaceWith(fresh.querySelector("main"));
        document.querySelector("header").replaceWith(fresh.querySelector("header"));
        document.title = fresh.title;
    } catch {
        document.title = "(out of reach) pgtend";
    }
}, 15000);
