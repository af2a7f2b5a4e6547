package http

import (
	"fmt"
	"html"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"
)

// problemPath is where the pages about problems are: the type of a problem is a path below it.
const problemPath = "/api/problems/"

// problems says of each code what it means and what to do. TestEveryProblemHasAPage finds one that is missing.
var problems = map[string]string{
	// the caller
	"unauthenticated":     "The bearer token is missing, wrong, or has ended. Log in again.",
	"bad_credentials":     "The workspace, the e-mail address or the password is wrong. Which of them is not said.",
	"code_required":       "Two factors are on. Log in with a code of the device as well, or with a recovery code.",
	"bad_code":            "The code is wrong, has ended, or was used before. Ask for another one, or wait for the next one of the device.",
	"forbidden":           "The caller's role, or the token, does not grant this. `GET /api/me` shows what it grants.",
	"session_required":    "An API token may not do this. Log in.",
	"two_factor_required": "The workspace asks two factors of this role. Turn them on with `POST /api/me/two-factor`.",
	"grants_exceed_role":  "The grants are more than the caller has. Ask a member who has them.",
	"member_mightier":     "The member may do more than the caller. Ask a member who may do as much.",
	"locked":              "There were too many wrong passwords or codes. Wait as long as `Retry-After` says, choose a new password by mail, or ask an admin.",
	"attempts_under_way":  "Other attempts at the same account are under way. Ask again after `Retry-After`.",
	"too_many_requests":   "A limit was reached, and `limit` names it. Ask again after `Retry-After`.",

	// the request itself
	"malformed_request":      "The request is not one that HTTP allows. Mend the program that sends it.",
	"malformed_json":         "The body is no acceptable JSON: one value, in UTF-8, no name twice.",
	"missing_body":           "The operation needs a JSON body.",
	"unsupported_media_type": "The body must be `application/json` in UTF-8, not compressed.",
	"payload_too_large":      "The body is larger than the operation allows.",
	"file_too_large":         "The file is larger than the plan allows. Make it smaller, or choose a larger plan.",
	"malformed_form":         "The body is no whole `multipart/form-data`: it was cut off, or its boundary is not the one that `Content-Type` names. Nothing was stored; send it again.",
	"range_not_satisfiable":  "The file has no such bytes. `Content-Range` says how many it has.",
	"headers_too_large":      "The headers are too large.",
	"request_timeout":        "The body was not sent in time.",
	"not_found":              "There is nothing at this path.",
	"method_not_allowed":     "The path does not have this method. The header `Allow` says which it has.",
	"invalid":                "A value is not allowed. `errors` says where, and what is allowed.",
	"invalid_cursor":         "A cursor fits only the list, the filters and the order that it was given for. Begin without one.",
	"stale":                  "The thing has another version than `If-Match` says. Read it again and decide anew.",
	"idempotency_key_reused": "The key was used for another request. Choose a new key for each request that is not a repeat.",
	"idempotency_key_in_use": "The first request with this key is still running. Ask again in a moment.",
	"client_closed_request":  "The caller left before the answer.",

	// what the state does not allow
	"pruned":               "What was asked for is before the horizon: those records were deleted, as the plan of the workspace says. `horizon` says how far back the log goes.",
	"not_cosigned":         "No witness has cosigned a checkpoint of this log: none is set, or none knows the log yet. Ask without `cosigned`.",
	"held_already":         "There is a legal hold on the workspace already.",
	"not_held":             "There is no legal hold on the workspace.",
	"last_admin":           "A workspace always has an active admin who can act. Make somebody else admin first.",
	"slug_taken":           "Another workspace has this name. Choose another.",
	"email_taken":          "A member has this e-mail address already.",
	"member_invited":       "The member has not joined yet. Remove the member instead: `DELETE /api/members/{id}` takes the invitation back.",
	"member_not_active":    "The member is not active.",
	"not_invited":          "The member has joined already, or is gone.",
	"password_changed":     "The password was changed at the same time. Log in with the new one.",
	"own_two_factor":       "Turn off your own two factors with `POST /api/me/two-factor/disable`.",
	"two_factor_enabled":   "Two factors are on. Turn them off first.",
	"two_factor_disabled":  "Two factors are not on.",
	"two_factor_not_begun": "Ask for a secret first, with `POST /api/me/two-factor`.",
	"key_taken":            "Another project has this key, or had it. A key is never given again: choose another.",
	"project_archived":     "An archived project takes no new work. Open it again first.",
	"project_has_tasks":    "A project with tasks cannot be deleted, and deleted tasks count, because each can be restored. Move them to another project, or archive this one.",
	"project_has_time":     "A project with time entries cannot be deleted. Move them to another project, or archive this one.",
	"too_many_receivers":   "The workspace has as many receivers as it can have. Delete another one first.",
	"receiver_unsigned":    "Only webhooks are signed. Change the credentials of another receiver with `PATCH`.",
	"tag_name_taken":       "There is a tag with this name. Choose another, or merge the two.",
	"too_many_merged":      "Too many tags were merged into this one. Merge the other way round.",
	"too_many_people":      "The thing has as many members as it can have.",
	"too_many_tags":        "The task has as many tags as it can have.",
	"too_many_roles":       "The workspace has as many roles of its own as it can have.",
	"role_in_use":          "Members have the role. Give them another one first.",
	"role_built_in":        "A built-in role never changes. Make a role of your own.",
	"role_mightier":        "The role may do more than the caller. Ask a member who may do as much.",
	"role_name_taken":      "There is a role with this name, or with one that people would take for it. Choose another.",
	"no_room":              "Too many tasks were put in this place of the order by hand. Put it one task further.",
	"external_id_taken":    "Another task, which may be deleted, has this external_source and external_id.",
	"parent_deleted":       "The task above it is deleted. Restore that one first.",
	"relation_circle":      "The relation would close a circle.",
	"too_many_relations":   "The task has as many relations as it can have.",
	"operations_refused":   "Some of the operations are refused, so none was done. `errors` points to each.",
	"too_many_subtasks":    "Too many tasks below it would go along. Do it for some of those first.",
	"time_overlap":         "A member works on one thing at a time: the entry overlaps another one.",
	"period_locked":        "The days are locked: nothing changes in them. An admin can lift the lock.",
	"too_many_totals":      "The answer would have too many totals. Ask for fewer at once: a shorter time, or fewer groups.",
	"member_placeholder":   "The member came with an import and has no account. Invite the person first.",
	"not_importable":       "The import cannot bring this about. The answer says why.",
	"export_of_another":    "The file of an export is for the admin who asked for it. Ask for an export of your own.",
	"export_under_way":     "The file is being made. Ask again once the export is done.",
	"export_failed":        "The export failed, and has no file. Ask for another one.",
	"export_expired":       "The file of the export is gone. Ask for another export.",
	"timer_running":        "A member has one timer at a time. Stop it first.",
	"timer_not_running":    "No timer of the caller is running.",
	"timer_too_long":       "An entry has at most 24 hours. Say when the work ended.",
	"log_restored":         "The log was restored from a backup since. The events behind the backup are gone: read the log from the first position.",
	"log_pruned":           "The log was pruned while it was read. What was begun begins again by itself.",
	"plan_required":        "The plan of the workspace does not have this.",
	"log_damaged":          "The log lacks records that it had, or their hashes. The operator of Kluis finds out more with `kluis verify`.",
	"log_forked":           "The log does not go on from a checkpoint that was signed. The operator of Kluis finds out more with `kluis verify`.",

	// what the operator is told on the command line
	"subprocessor_listed":    "The list of subprocessors says so already. Look at it with `kluis subprocessor list`.",
	"subprocessor_contended": "Two changed the list of subprocessors at once, and one of them did. Look at it, and try again.",

	// not now
	"internal":                   "Something went wrong on the server. Tell its operator the `request_id`.",
	"unavailable":                "The server cannot answer at the moment. Ask again after `Retry-After`.",
	"import_file_missing":        "The file of the import is not there any more. Send it again.",
	"quota_exceeded":             "The files of the workspace have as many bytes as the plan allows. Delete attachments, or choose a larger plan.",
	"attachment_content_missing": "The attachment is known, and its bytes are not there: it was deleted at this moment, or they are not in the backup that was put back.",
	"attachments_unavailable":    "The place where the files are cannot be reached; all else works. Ask again after `Retry-After`.",
	"idempotency_key_expired":    "The key was first used a day ago, and ended while the file was sent. Send the request again.",
	"busy":                       "The server has too much to do. Ask again after `Retry-After`.",
	"contended":                  "Other requests changed the same thing all the time. Ask again.",
	"catching_up":                "What the answer would show is behind the log. Ask again after `Retry-After`.",
	"outcome_unknown":            "The connection to the database broke off in the middle of a commit. Ask again with the same `Idempotency-Key`.",
	"newer_version":              "A newer version of the program has written this. Ask again, or bring this one up to date.",
	"workspace_migrating":        "The workspace is being brought up to date. Ask again after `Retry-After`.",
	"database_unavailable":       "The database is gone, starting or stopping. Ask again after `Retry-After`.",
	"database_busy":              "The database does not answer in time. Ask again after `Retry-After`.",
	"database_read_only":         "The database takes no changes at the moment. Reads go on. Ask again after `Retry-After`.",
	"database_full":              "The database has no room. The operator of Kluis has to make some.",
	"database_clock":             "The clock of the database is wrong by far. The operator of Kluis has to set it right.",
	"workspace_moved":            "The workspace moves to another region, which takes less than a second. Ask again after `Retry-After`.",
	"workspace_missing":          "The workspace is not where it should be: a backup from before it came there was put back. It has not ended, and neither have its people's accounts. Ask again after `Retry-After`; the operator of Kluis can bring it back.",
	"region_unavailable":         "The region where the workspace is kept cannot be reached by this server at the moment, or is not among those that it serves. Nothing of it is anywhere else. Ask again after `Retry-After`.",
	"workspace_closed":           "The workspace is closed, or being erased: the operator of Kluis can say why.",
	"erasures_unavailable":       "What was erased cannot be looked up at the moment, and a backup that was put back may have it: nothing is served. Ask again after `Retry-After`.",
	"admin_too_new":              "Only an admin who has been one since before the erasure was asked for confirms it.",
	"legal_hold":                 "The workspace is under a legal hold: nothing of it is erased until the operator of Kluis lifts it.",
	"checkpoints_unavailable":    "Checkpoints cannot be kept at the moment, so none is signed. Ask again after `Retry-After`.",
	"not_ready":                  "The server is not ready to serve requests.",
	"stopping":                   "The server is stopping. Ask another one, or again in a moment.",
}

// aboutProblem is what a code means: every noun can be missing.
func aboutProblem(code string) (string, bool) {
	if about, known := problems[code]; known {
		return about, true
	}
	if noun, is := strings.CutSuffix(code, "_not_found"); is {
		return fmt.Sprintf("There is no such %s, or none that the caller may see.", strings.ReplaceAll(noun, "_", " ")), true
	}
	return "", false
}

// problemPages serves a page about all problems, and one about each.
func problemPages(a *api) {
	a.echo.GET(problemPath, func(c echo.Context) error {
		var list strings.Builder
		for _, code := range slices.Sorted(maps.Keys(problems)) {
			fmt.Fprintf(&list, "<dt><a href=\"%s%s\">%[2]s</a></dt><dd>%s</dd>\n", problemPath, code, html.EscapeString(problems[code]))
		}
		return c.HTML(http.StatusOK, fmt.Sprintf(problemPage, "Problems", "<dl>\n"+list.String()+"<dt>&hellip;_not_found</dt><dd>There is no such thing, or none that the caller may see.</dd>\n</dl>"))
	})
	a.echo.GET(problemPath+":code", func(c echo.Context) error {
		code := c.Param("code")
		about, known := aboutProblem(code)
		if !known {
			return newProblem(http.StatusNotFound)
		}
		return c.HTML(http.StatusOK, fmt.Sprintf(problemPage, html.EscapeString(code), "<p>"+html.EscapeString(about)+"</p>\n<p><a href=\""+problemPath+"\">All problems</a></p>"))
	})
	redirect(a, problemPath)
}

const problemPage = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Kluis: %[1]s</title>
<link rel="icon" href="data:,">
</head>
<body>
<h1>%[1]s</h1>
%[2]s
</body>
</html>
`
