package domain

// The subjects of the data.
const (
	ofMembers   = "members of the workspace: employees, and guests whom the workspace invites"
	ofStrangers = "people who ask for an account, or for a code"
	ofOthers    = "people whom members write about"
	ofFormer    = "people of an imported history who have no account"
)

// How long things are kept.
const (
	asTheLog   = "as long as the plan keeps the log: 90 days (Free), 1 year (Pro), 3 years (Business), as agreed (Enterprise)"
	asTheSpace = "until the workspace is erased"
)

// The measures that some categories have.
const (
	bySealing = "encrypted at rest under a data key of the member or the workspace, which is wrapped by keys outside the database"
	byHashing = "only a keyed hash, or the hash of 256 random bits, is kept"
	byMerkle  = "append-only, in a Merkle tree with signed checkpoints"
	byScopes  = "seen only by members whose role grants it, over the scope that it grants"
)

// dataOfPeople are the categories of accounts and of their protection.
var dataOfPeople = []Category{
	{
		Name: "account", Title: "accounts of members",
		Kinds:   "name, e-mail address, language, role, hourly rate, the state of the account and when it changed",
		Purpose: "to know who is a member of the workspace, what they are called, how they are reached, and what they may do",
		Basis:   Contract, Subjects: []string{ofMembers, ofFormer},
		Retention: "name and address until the member is erased, or the workspace; what happened to the account " + asTheLog,
		Measures:  []string{bySealing, "an address is found by a keyed hash, which no event holds"},
		Places: []Place{
			table("member", "id email full_name role status language two_factor hourly_rate_cents erased_at created_at updated_at version position").about("id").sealed("email full_name").ends(Ended),
			table("member_email", "member_id hash").about("member_id").secret("hash").ends(Deleted),
			event("member.added", "member_id email full_name role language").about("member_id").sealed("email full_name").ends(Ended),
			event("member.invited", "member_id email full_name role language").about("member_id").sealed("email full_name").ends(Ended),
			event("member.placed", "member_id full_name").about("member_id").sealed("full_name").ends(Ended),
			event("member.invited_again", "member_id").about("member_id"),
			event("member.joined", "member_id").about("member_id"),
			event("member.role_changed", "member_id role").about("member_id"),
			event("member.language_changed", "member_id language").about("member_id"),
			event("member.rate_changed", "member_id hourly_rate_cents").about("member_id"),
			event("member.deactivated", "member_id").about("member_id"),
			event("member.reactivated", "member_id").about("member_id"),
			event("member.removed", "member_id").about("member_id"),
			event("member.erased", "member_id").about("member_id"),
		},
	},
	{
		Name: "credential", Title: "credentials: passwords, second factors, API tokens, codes",
		Kinds:   "hashes of passwords and codes, secrets of second factors, names, grants and ends of API tokens",
		Purpose: "to let members in, and nobody else",
		Basis:   Interest, Subjects: []string{ofMembers, ofStrangers},
		Retention: "until the member chooses another one, revokes it, or is deactivated; codes for 15 minutes, invitations for 7 days, the names and grants of API tokens " + asTheLog,
		Measures:  []string{"passwords are kept as Argon2id hashes", byHashing, "secrets of second factors are encrypted under the member's data key", "no secret is in an event, a log, or an export"},
		Places: []Place{
			table("credential", "member_id password updated_at").about("member_id").secret("password").ends(Deleted),
			table("two_factor", "member_id secret last_step confirmed_at").about("member_id").sealed("secret").secret("secret last_step").ends(Deleted),
			table("recovery_code", "member_id code").about("member_id").secret("code").ends(Deleted),
			table("invitation", "member_id code attempts expires_at claimed_until").about("member_id").secret("code").ends(Deleted),
			table("password_reset", "email_hash circle code attempts strangers expires_at").secret("email_hash circle code").ends(Expires),
			table("token", "id member_id name grants expires_at created_at updated_at revoked_at version position").about("member_id"),
			table("token_secret", "token_id member_id digest grants expires_at used_at").about("member_id").secret("digest").ends(Deleted),
			table("data_key", "subject wrapped").about("subject").sealed("wrapped").secret("wrapped").ends(Deleted),
			event("token.created", "name grants expires_at"),
			event("token.revoked", ""),
		},
	},
	{
		Name: "session", Title: "sessions",
		Kinds:   "when a session began, was used last and ends",
		Purpose: "to keep a member logged in, and to show them where they are",
		Basis:   Contract, Subjects: []string{ofMembers},
		Retention: "until the member logs out; 12 hours without use, 7 days at most",
		Measures:  []string{byHashing},
		Places: []Place{
			table("session", "id member_id digest created_at used_at expires_at").about("member_id").secret("digest").ends(Deleted),
		},
	},
	{
		Name: "security", Title: "log-ins, changes of credentials, refused requests, reads of the log",
		Kinds:   "what was tried, when, with which API token, and what became of it",
		Purpose: "to notice that somebody else uses, or tries, an account, or asks for what they may not have, and to show who did",
		Basis:   Interest, Subjects: []string{ofMembers, ofStrangers},
		Retention: asTheLog,
		Measures:  []string{byMerkle, "no password, code or token is in it"},
		Places: []Place{
			event("member.logged_in", "member_id session_id").about("member_id"),
			event("member.login_failed", "member_id reason").about("member_id"),
			event("member.login_refused", "member_id operation code count").about("member_id"),
			event("member.logged_out", "member_id session_id").about("member_id"),
			event("member.session_ended", "member_id session_id").about("member_id"),
			event("security.access_denied", "operation code noun thing_ids token_id count"),
			event("security.rate_limited", "operation token_id count"),
			event("security.login_failed", "operation code count"),
			event("security.log_read", "operation token_id count"),
			event("security.log_exported", "operation token_id count"),
			event("security.truncated", "count"),
			event("member.locked", "member_id until").about("member_id"),
			event("member.unlocked", "member_id").about("member_id"),
			event("member.password_reset", "member_id").about("member_id"),
			event("member.password_changed", "member_id").about("member_id"),
			event("member.two_factor_enabled", "member_id").about("member_id"),
			event("member.two_factor_disabled", "member_id").about("member_id"),
			event("member.two_factor_reset", "member_id").about("member_id"),
			event("member.recovery_code_used", "member_id").about("member_id"),
			event("member.recovery_codes_renewed", "member_id").about("member_id"),
		},
	},
	{
		Name: "connection", Title: "network addresses and programs",
		Kinds:   "IP addresses, and what browsers and programs call themselves",
		Purpose: "to tell from where something was done, so that misuse of an account is noticed and limited",
		Basis:   Interest, Subjects: []string{ofMembers, ofStrangers},
		Retention: "beside the event " + asTheLog + "; counted attempts 31 days at most; a line of the program's own log as long as the operator of Kluis keeps it",
		Measures:  []string{bySealing, "counters know addresses by a keyed hash alone"},
		Places: []Place{
			table("event", "meta").sealed("meta").ends(Ended),
			control("counter", "name subject circle hits open locked_until lock_count keep_until").secret("subject circle").ends(Expires),
			files("the log of the program (standard error)"),
		},
	},
	{
		Name: "signup", Title: "sign-ups that wait for their code",
		Kinds:   "name, e-mail address, the hash of the password, the name of the workspace that is asked for",
		Purpose: "to found a workspace for somebody who has shown that the e-mail address is theirs",
		Basis:   Contract, Subjects: []string{ofStrangers},
		Retention: "15 minutes",
		Measures:  []string{"encrypted at rest under keys outside the database", byHashing},
		Places: []Place{
			control("signup", "id sealed code attempts expires_at").sealed("sealed").secret("sealed code").ends(Expires),
		},
	},
	{
		Name: "inquiry", Title: "inquiries about how personal data are protected",
		Kinds:   "name, e-mail address, company, which documents, and when",
		Purpose: "to answer whoever asks for documents, and to know afterwards who was given which",
		Basis:   Interest, Subjects: []string{ofStrangers},
		Retention: "a year",
		Measures:  []string{"encrypted at rest under keys outside the database"},
		Places: []Place{
			control("security_pack", "id sealed documents at").sealed("sealed").secret("sealed").ends(Expires),
		},
	},
	{
		Name: "mail", Title: "mails",
		Kinds:   "name, e-mail address, the name of the workspace, codes, and what a mail tells of",
		Purpose: "to send codes, and to tell members about their account",
		Basis:   Contract, Subjects: []string{ofMembers, ofStrangers},
		Recipients: []string{"the mail server that the operator of Kluis names, and that of the addressee"},
		Retention:  "until it is sent, then one hour; a mail that cannot be sent for a day at most",
		Measures:   []string{"encrypted at rest under keys outside the database while it waits", "no text that members wrote is in it"},
		Places: []Place{
			job("mail", "sealed workspace member signup").about("member").sealed("sealed").secret("sealed").within("workspace").ends(Deleted),
			mailed("signup_code", "To Name Workspace Code Minutes URL"),
			mailed("invitation_code", "To Name Workspace Inviter Slug Code Days URL"),
			mailed("reset_code", "To Name Workspace Code Minutes URL"),
			mailed("password_changed", "To Name Workspace URL"),
			mailed("two_factor_changed", "To Name Workspace Change URL"),
			mailed("receiver_stopped", "To Name Workspace Receiver Reason URL"),
			mailed("workspace_erasure", "To Name Workspace Change When URL"),
			mailed("locked", "To Name Workspace Minutes Known URL"),
			mailed("retention_shortened", "To Name Workspace Plan Until Days URL"),
			mailed("subprocessor_notice", "To Name Workspace Company Purpose Data Country Effective URL"),
			mailed("security_pack", "To URL"),
			files("mails of an installation without a mail server, in its folder of data"),
		},
	},
}
