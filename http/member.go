package http

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/commands"
	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/projections"
)

type (
	memberBody struct {
		ID              uuid.UUID  `json:"id"`
		Email           *string    `json:"email" doc:"null when the person was erased, or is a placeholder."`
		FullName        *string    `json:"full_name" doc:"null when the person was erased."`
		Role            string     `json:"role" example:"member" doc:"The name of a built-in role, or the id of an own one."`
		Status          string     `json:"status" enum:"invited,active,deactivated,removed,placeholder" doc:"placeholder: a person of an imported history, without an account."`
		HourlyRateCents *int       `json:"hourly_rate_cents" doc:"EUR cents. null also for a caller who may not change the member, and is somebody else."`
		ErasedAt        *time.Time `json:"erased_at" doc:"Since when nobody can read who it was; null of anybody else."`
		Language        string     `json:"language" enum:"en,fr,nl" doc:"In which mails to the member are written."`
		CreatedAt       time.Time  `json:"created_at"`
		UpdatedAt       time.Time  `json:"updated_at"`
		Version         int        `json:"version" doc:"Of the roster, when this member last changed."`

		state domain.Member
	}
	memberInvite struct {
		Idempotent
		Body struct {
			Email    string `json:"email" format:"email" maxLength:"254"`
			FullName string `json:"full_name" minLength:"1" maxLength:"200"`
			Role     string `json:"role" example:"member" doc:"The name of a built-in role, or the id of an own one. At most what you may do yourself."`
			Language string `json:"language,omitempty" enum:"en,fr,nl" doc:"Of the mails to the person. Left out: as yours."`

			PlaceholderID *uuid.UUID `json:"placeholder_id,omitempty" doc:"The placeholder that an import made of the person: what it did is then the member's."`
		}
	}
	mePatch struct {
		Conditional
		Body struct {
			Language string `json:"language" enum:"en,fr,nl" doc:"Of the mails to you."`
		}
	}
	memberPatch struct {
		ByID
		Conditional
		Body struct {
			Role            optional[string] `json:"role,omitzero" example:"manager" doc:"The name of a built-in role, or the id of an own one. At most what you may do yourself."`
			HourlyRateCents nullable[int]    `json:"hourly_rate_cents,omitzero" minimum:"0" maximum:"1000000000" doc:"EUR cents, for time that is written down from here on, whatever the project says; null: what the project says, or the workspace. It takes member:update over all."`
		}
	}
	memberCommand struct {
		ByID
		Conditional
	}
	memberList struct {
		Sorted
		Searched
		Status       []string `query:"status" enum:"invited,active,deactivated,placeholder" maxItems:"4"`
		Role         []string `query:"role" maxItems:"100" pattern:"^([a-z]{1,20}|[0-9a-fA-F-]{36})$" example:"member" doc:"The names of built-in roles, or the ids of own ones."`
		UpdatedSince Instant  `query:"updated_since" doc:"Those that changed at this instant or later."`
	}
	memberAsked struct {
		ByID
		AsOf Instant `query:"as_of" doc:"The member as at this instant."`
	}
	memberWritten struct {
		Written
		Body memberBody
	}
	memberShown struct {
		Shown
		Body memberBody
	}
	meShown struct {
		Shown
		Body struct {
			Member    memberBody            `json:"member"`
			Role      domain.Role           `json:"role"`
			Grants    []domain.SourcedGrant `json:"grants" doc:"What is in force: what you may do now, and how far that reaches. From the role, unless the API token that you came with grants less."`
			Withheld  []domain.SourcedGrant `json:"withheld" doc:"What your role grants and is not in force: the API token does not have it, or two factors are asked that you have not turned on."`
			Workspace workspaceBody         `json:"workspace"`
			TwoFactor twoFactorBody         `json:"two_factor"`
		}
	}
)

func member(a *api) {
	register(a, operation{Method: "GET", Path: "/api/me", ID: "get-me", Tag: "member", Status: http.StatusOK,
		Summary: "Who am I, and what may I do?", Access: signedIn}, a.me)
	command(a, operation{Method: "PATCH", Path: "/api/me", ID: "update-me", Tag: "member", Status: http.StatusOK,
		Summary: "Choose the language of the mails to me", Access: withSession},
		func(ctx context.Context, r commands.Request, in *mePatch) (*memberWritten, error) {
			done, err := a.Commands.ChangeLanguage(ctx, r, in.Body.Language)
			return a.memberAnswer(ctx, r, done, err)
		})
	listsMade(a, operation{Method: "GET", Path: "/api/members", ID: "list-members", Tag: "member", Status: http.StatusOK,
		Summary: "List the members", Access: needs(domain.ReadMember),
		Description: "Those who are invited as well: `status=invited` lists the invitations. `q` looks for names and addresses as they are now. " +
			"With `as_of`: those who were members then, also if they left since, with the roles and statuses of then."},
		projections.Members, row[memberBody, domain.Member]{state: func(m memberBody) domain.Member { return m.state }}, a.listMembers)
	command(a, operation{Method: "POST", Path: "/api/members", ID: "invite-member", Tag: "member", Status: http.StatusCreated,
		Summary: "Invite a person", Description: "The person gets a mail with a 6-digit code, which is good for 7 days. The same invitation once more mails another code. An address gets 5 such mails a day, a member may ask for 200 an hour.",
		Access: needs(domain.CreateMember)}, a.inviteMember)
	register(a, operation{Method: "GET", Path: "/api/members/{id}", ID: "get-member", Tag: "member", Status: http.StatusOK,
		Summary: "Get a member", Access: needs(domain.ReadMember)},
		func(ctx context.Context, by projections.Actor, in *memberAsked) (*memberShown, error) {
			m, mark, err := getAt(ctx, a, projections.Members, by, in.ID, in.AsOf)
			if err != nil {
				return nil, err
			}
			body, err := a.showMember(ctx, by, m)
			return &memberShown{queryHeaders(mark, m.Version), body}, err
		})
	register(a, operation{Method: "GET", Path: "/api/members/{id}/history", ID: "get-member-history", Tag: "member", Status: http.StatusOK,
		Summary: "Who changed what about a member, when", Description: "Invitations, roles, statuses, languages and second factors; also of those who left. Names and addresses are in no history; hourly rates are for those to whom the member shows them.",
		Access: needs(domain.ReadMember)}, a.memberHistory)
	command(a, operation{Method: "PATCH", Path: "/api/members/{id}", ID: "update-member", Tag: "member", Status: http.StatusOK,
		Summary: "Give a member another role, or another hourly rate", Access: needs(domain.UpdateMember)},
		func(ctx context.Context, r commands.Request, in *memberPatch) (*memberWritten, error) {
			done, err := a.Commands.UpdateMember(ctx, r, in.ID, in.Body.Role.Value, in.Body.HourlyRateCents.Optional)
			return a.memberAnswer(ctx, r, done, err)
		})
	command(a, operation{Method: "DELETE", Path: "/api/members/{id}", ID: "remove-member", Tag: "member", Status: http.StatusNoContent,
		Summary: "End a membership, or take an invitation back", Access: needs(domain.DeleteMember)},
		func(ctx context.Context, r commands.Request, in *memberCommand) (*written204, error) {
			return noContent(a.Commands.RemoveMember(ctx, r, in.ID))
		})
	command(a, operation{Method: "POST", Path: "/api/members/{id}/erase", ID: "erase-member", Tag: "member", Status: http.StatusOK,
		Summary: "Erase a person, for good", Access: needs(domain.DeleteMember).inSession(),
		Description: "Ends the membership of a member, an invited person, or a placeholder, as a DELETE does, and makes whoever it was unknown, also of somebody who left before: " +
			"the key is destroyed under which name, address, IP addresses and devices are sealed, in all events and rows. What the person did stays, as done by somebody who was erased; " +
			"what others wrote about them is theirs. It cannot be undone, also not by restoring a backup: the ledger of erasures is outside of the database."}, a.eraseMember)
	type change func(*commands.Commands, context.Context, commands.Request, uuid.UUID) (commands.Result[domain.Member], error)
	for _, c := range []struct {
		name, summary string
		change        change
	}{
		{"deactivate", "Keep a member out, at once", (*commands.Commands).DeactivateMember},
		{"reactivate", "Let a deactivated member in again", (*commands.Commands).ReactivateMember},
	} {
		command(a, operation{Method: "POST", Path: "/api/members/{id}/" + c.name, ID: c.name + "-member", Tag: "member",
			Status: http.StatusOK, Summary: c.summary, Access: needs(domain.UpdateMember)},
			func(ctx context.Context, r commands.Request, in *memberCommand) (*memberWritten, error) {
				done, err := c.change(a.Commands, ctx, r, in.ID)
				return a.memberAnswer(ctx, r, done, err)
			})
	}
}

func (a *api) listMembers(ctx context.Context, by projections.Actor, in *memberList, page projections.Page) ([]memberBody, projections.Mark, error) {
	f := projections.MemberFilter{Status: in.Status, Role: in.Role, Since: in.UpdatedSince.Value}
	var err error
	if page.Text != "" {
		f.IDs, err = a.membersCalled(ctx, by, page.Text)
		page.Text = ""
	}
	if err != nil {
		return nil, projections.Mark{}, err
	}
	members, mark, err := listAt(ctx, a, projections.Members, by, page, f, in.AsOf)
	if err != nil {
		return nil, mark, err
	}
	bodies, err := a.showMembers(ctx, by, members)
	return bodies, mark, err
}

// membersCalled are the members whose name or address has the words of a text. Both are sealed, so all are opened.
func (a *api) membersCalled(ctx context.Context, by projections.Actor, text string) ([]uuid.UUID, error) {
	matches, err := projections.Matching(text)
	if err != nil {
		return nil, err
	}
	members, _, err := projections.Members.All(ctx, a.Projections, by, nil)
	if err != nil {
		return nil, err
	}
	people, err := a.Commands.OpenMembers(ctx, by.Workspace, members)
	called := []uuid.UUID{} // never nil, which chooses all
	for id, person := range people {
		if matches(person.FullName + " " + person.Email) {
			called = append(called, id)
		}
	}
	return called, err
}

func (a *api) inviteMember(ctx context.Context, r commands.Request, in *memberInvite) (*memberWritten, error) {
	done, err := a.Commands.InviteMember(ctx, r, commands.Invitation(in.Body))
	return a.memberAnswer(ctx, r, done, err)
}

func (a *api) eraseMember(ctx context.Context, r commands.Request, in *memberCommand) (*memberWritten, error) {
	done, err := a.Commands.EraseMember(ctx, r, in.ID)
	return a.memberAnswer(ctx, r, done, err)
}

func (a *api) me(ctx context.Context, by projections.Actor, _ *struct{}) (*meShown, error) {
	m, mark, err := a.Projections.GetSelf(ctx, by)
	if err != nil {
		return nil, err
	}
	w, _, err := a.Projections.GetWorkspace(ctx, by.Workspace)
	if err != nil {
		return nil, err
	}
	out := &meShown{Shown: queryHeaders(mark, m.Version)}
	out.Body.Role = by.Role
	if out.Body.Workspace, err = a.showWorkspace(ctx, w); err != nil {
		return nil, err
	}
	out.Body.Role.Grants = by.Granted
	out.Body.Grants, out.Body.Withheld = domain.ExplainGrants(by.Granted, by.Role.Grants, limitOf(by))
	out.Body.TwoFactor = twoFactorBody{by.TwoFactor.Enabled, by.TwoFactor.Required}
	out.Body.Member, err = a.showMember(ctx, by, m)
	return out, err
}

// limitOf is what leaves less than the role grants.
func limitOf(by projections.Actor) string {
	if by.TwoFactor.MustEnrol() {
		return domain.FromTwoFactor
	}
	return domain.FromToken
}

func (a *api) memberAnswer(ctx context.Context, r commands.Request, done commands.Result[domain.Member], err error) (*memberWritten, error) {
	if err != nil {
		return nil, err
	}
	body, err := a.showMember(ctx, r.By, done.State)
	return &memberWritten{commandHeaders(done.Position, done.State.Version), body}, err
}

func (a *api) showMember(ctx context.Context, by projections.Actor, m domain.Member) (memberBody, error) {
	bodies, err := a.showMembers(ctx, by, []domain.Member{m})
	if err != nil {
		return memberBody{}, err
	}
	return bodies[0], nil
}

// showsRate tells whether the caller is shown what an hour of a member is worth.
func showsRate(by projections.Actor, member uuid.UUID) bool {
	return member == by.Member || by.Scope(domain.UpdateMember) == domain.All
}

// memberHistory is a history without rates, for whoever is not shown them.
func (a *api) memberHistory(ctx context.Context, by projections.Actor, in *historyAsked) (*historyShown, error) {
	out, err := history(a, projections.Members)(ctx, by, in)
	if err != nil || showsRate(by, in.ID) {
		return out, err
	}
	for i := range out.Body.Items {
		if line := &out.Body.Items[i]; line.Field != nil && *line.Field == "hourly_rate_cents" {
			line.Field, line.Old, line.New = nil, json.RawMessage("null"), json.RawMessage("null")
		}
	}
	return out, nil
}

// showMembers opens what is sealed, for who may see it.
func (a *api) showMembers(ctx context.Context, by projections.Actor, members []domain.Member) ([]memberBody, error) {
	people, err := a.Commands.OpenMembers(ctx, by.Workspace, members)
	if err != nil {
		return nil, err
	}
	bodies := make([]memberBody, len(members))
	for i, m := range members {
		bodies[i] = memberBody{ID: m.ID, Role: m.Role, Status: m.Status, Language: m.Language, ErasedAt: m.ErasedAt, CreatedAt: m.CreatedAt, UpdatedAt: m.UpdatedAt, Version: m.Version, state: m}
		if showsRate(by, m.ID) {
			bodies[i].HourlyRateCents = m.HourlyRateCents
		}
		if person, there := people[m.ID]; there {
			bodies[i].FullName = &person.FullName
			if m.Status != domain.Placeholder {
				bodies[i].Email = &person.Email
			}
		}
	}
	return bodies, nil
}
