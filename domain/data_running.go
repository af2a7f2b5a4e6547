package domain

// dataOfRunning are the categories of the workspace itself, of its log, and of what keeps both going.
var dataOfRunning = []Category{
	{
		Name: "workspace", Title: "the workspace: its name, plan, rules and roles",
		Purpose: "to serve the workspace as it was agreed, under the rules that its admins set",
		Basis:   Contract, Subjects: []string{ofMembers},
		Retention: "until the workspace is erased; its id and its short name for ever, so that neither is ever given to somebody else",
		Measures:  []string{byMerkle},
		Places: []Place{
			control("workspace", "id slug region status version hashes failure shape created_at").within("id"),
			table("workspace", "id slug name plan region hourly_rate_cents time_overlap time_locked_before created_at updated_at version position"),
			table("policy", "id two_factor_roles updated_at version position"),
			table("role", "id name name_key grants created_by created_at updated_at deleted_at version position").about("created_by"),
			table("storage", "id bytes version position"),
			event("workspace.created", "slug name plan region"),
			event("workspace.renamed", "name"),
			event("workspace.plan_changed", "plan"),
			event("workspace.time_rules_changed", "hourly_rate_cents time_overlap time_locked_before"),
			event("workspace.restored", "epoch sessions tokens codes recovery_codes"),
			event("policy.two_factor_required", "roles"),
			event("role.created", "role_id name name_key grants"),
			event("role.renamed", "role_id name name_key"),
			event("role.grants_changed", "role_id grants"),
			event("role.deleted", "role_id"),
			event("storage.taken", "attachment_id size"),
			event("storage.freed", "attachment_id size"),
		},
	},
	{
		Name: "log", Title: "the log: who did what, when",
		Purpose: "to show what happened, and to prove that nobody changed that afterwards",
		Basis:   Interest, Subjects: []string{ofMembers, ofFormer},
		Retention: asTheLog + "; the hashes of its lines until the workspace is erased",
		Measures:  []string{byMerkle, "members are ids in it; names, addresses and where they asked from are encrypted under their own data keys"},
		Places: []Place{
			table("event", "position id stream version type at actor data size").about("actor"),
			event("", "original").about("original"), // beside the data of an event that an import made: when it was, and by whom
			table("baseline", "model id stream version position state"),
			table("head", "single position last at epoch pruned"),
			table("tree", "single size"),
			table("tile", "id hashes"),
			files("the ledger of erasures, beside the checkpoints"),
			files("checkpoints outside the database (KLUIS_DATA/checkpoints, KLUIS_CHECKPOINTS)"),
		},
	},
	{
		Name: "running", Title: "what keeps the program going",
		Purpose:   "to do each thing once, and to bring what members see up to date",
		Basis:     Interest,
		Retention: "while it is needed: keys of commands that were sent for 24 hours, signals and queues until they are done, how far things are until the workspace is erased",
		Places: []Place{
			table("dedupe", "key fingerprint first last at answer").secret("key fingerprint answer").ends(Expires),
			table("checkpoint", "single position roster shape oldest"),
			table("reaction", "single position"),
			control("signal", "workspace_id id position attempts not_before").within("workspace_id"),
			control("import_queue", "workspace_id import_id leased_until").within("workspace_id"),
			control("migration", "single version hashes workspaces"),
			control("limit_key", "single wrapped").sealed("wrapped").secret("wrapped"),
		},
	},
}
