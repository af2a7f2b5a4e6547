package http

import (
	"cmp"
	"slices"

	"github.com/danielgtaylor/huma/v2"
)

// tagWords says what the operations of each tag are for, in the order in which a reader meets them.
var tagWords = []struct{ name, about string }{
	{"account", "How a person gets in: signing up, logging in and out, passwords, and the second factor of a log-in."},
	{"token", "Personal API tokens: they act for the member who made them, with grants of their own."},
	{"workspace", "The workspace: its name and plan, and what it asks of all its members."},
	{"member", "The people of a workspace: invited, given a role, deactivated, removed."},
	{"role", "Roles: named sets of grants."},
	{"project", "Projects, their members and budgets. The key of a project begins the keys of its tasks."},
	{"task", "The work itself."},
	{"comment", "What people say about a task."},
	{"attachment", "Files of tasks: uploaded and downloaded as streams, stored encrypted, counted against the quota of the plan."},
	{"time", "How long people worked on what, and what it costs."},
	{"tag", "Labels on tasks: unique names, merged when there are two for one thing."},
	{"export", "Everything that the workspace has, in one file."},
	{"import", "The history of another tracker, played here with its own times and authors."},
	{"integration", "Accounts that the workspace has with other services."},
	{"receiver", "Systems outside to which events go as they are committed: webhooks, SIEMs, NATS."},
	{"audit", "The log: everything that happened, in order, and proof that it was not changed."},
	{"compliance", "What the law asks to be said of personal data: records, agreement, subprocessors, places. Public."},
	{"health", "Whether the server is well."},
}

// schemaWords says what the schemas are that others refer to.
var schemaWords = map[string]string{
	"MemberBody":    "A member of the workspace.",
	"WorkspaceBody": "The workspace.",
	"Role":          "A named set of grants.",
	"Grant":         "A permission over a scope.",
	"Task":          "A piece of work.",
	"Problem":       "What went wrong (RFC 9457).",
	"Fault":         "One thing that is wrong with a request.",
}

// describeTags puts the tags of all operations into order, with what each is for.
func describeTags(doc *huma.OpenAPI) {
	place := func(name string) int {
		return slices.IndexFunc(tagWords, func(w struct{ name, about string }) bool { return w.name == name })
	}
	slices.SortFunc(doc.Tags, func(a, b *huma.Tag) int { return cmp.Compare(place(a.Name), place(b.Name)) })
	for _, tag := range doc.Tags {
		if i := place(tag.Name); i >= 0 {
			tag.Description = tagWords[i].about
		}
	}
}
