package http

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
	"github.com/kluis-eu/kluis/projections"
)

type taskList struct {
	Sorted
	Searched
	Trash
	Status       []string    `query:"status" enum:"open,in_progress,done,cancelled" maxItems:"4"`
	Priority     []string    `query:"priority" enum:"none,low,medium,high,urgent" maxItems:"5"`
	AssigneeID   RefsOrNone  `query:"assignee_id"`
	ViewerID     RefsOrNone  `query:"viewer_id"`
	TagID        RefsOrNone  `query:"tag_id"`
	ProjectID    projectRefs `query:"project_id"`
	ParentID     RefsOrNone  `query:"parent_id"`
	CreatedBy    Refs        `query:"created_by"`
	DueBefore    Day         `query:"due_before" doc:"Those that are due on an earlier day."`
	DueAfter     Day         `query:"due_after" doc:"Those that are due on a later day."`
	Due          string      `query:"due" enum:"overdue,today,tomorrow,this_week,next_week,none" doc:"Those that are due then, by the calendar of Brussels; weeks begin on Monday. overdue: before today, and neither done nor cancelled; none: without a day."`
	UpdatedSince Instant     `query:"updated_since" doc:"Those that changed at this instant or later."`

	ExternalSource string   `query:"external_source" maxLength:"100" example:"jira" doc:"Those that have an id there."`
	ExternalID     []string `query:"external_id" maxItems:"100" example:"PROJ-7" doc:"Of external_source."`
}

func (a *api) listTasks(ctx context.Context, by projections.Actor, in *taskList, page projections.Page) ([]projections.Shown, projections.Mark, error) {
	f, err := a.taskFilter(ctx, by, in)
	if err != nil {
		return nil, projections.Mark{}, err
	}
	return a.Projections.ShowTasks(ctx, by, f, page)
}

func (a *api) taskFilter(ctx context.Context, by projections.Actor, in *taskList) (f projections.TaskFilter, err error) {
	var days domain.Days
	if in.Due != "" {
		now, err := a.Commands.DB.Now(ctx)
		if err != nil {
			return f, err
		}
		days = domain.Window(in.Due, now)
	}
	f = projections.TaskFilter{Status: in.Status, Priority: in.Priority, Assignee: in.AssigneeID.ids(), Viewer: in.ViewerID.ids(), Tag: in.TagID.ids(),
		Parent: in.ParentID.ids(), Creator: in.CreatedBy.Values, Since: in.UpdatedSince.Value,
		DueFirst: days.First, DueLast: days.Last, DueAfter: in.DueAfter.Value, DueBefore: in.DueBefore.Value,
		NoDue: in.Due == "none", Undone: in.Due == "overdue", External: in.ExternalID}
	if in.ExternalSource != "" {
		f.Source = &in.ExternalSource
	} else if in.ExternalID != nil {
		return f, domain.InvalidField("/external_source", "is needed with external_id")
	}
	f.Project, err = a.projects(ctx, by, in.ProjectID)
	return f, err
}

// projects are the ids of the projects that a parameter names.
func (a *api) projects(ctx context.Context, by projections.Actor, r projectRefs) (projections.IDs, error) {
	ids := r.ids()
	if r.keys == nil {
		return ids, nil
	}
	found, err := a.Projections.ProjectsOfKeys(ctx, by, r.keys)
	ids.Any = append(append([]uuid.UUID{}, ids.Any...), found...) // never nil, or it would choose all
	return ids, err
}

// projectRefs is a parameter that is ids or keys of projects, comma separated, with none among them for no project.
type projectRefs struct {
	RefsOrNone
	keys []string
}

var projectKey = regexp.MustCompile(`^[A-Z]{2,10}$`)

// UnmarshalText reads ids and keys.
func (r *projectRefs) UnmarshalText(text []byte) error {
	var rest []string
	for _, part := range strings.Split(string(text), ",") {
		if projectKey.MatchString(part) {
			r.keys = append(r.keys, part)
		} else {
			rest = append(rest, part)
		}
	}
	if len(r.keys)+len(rest) > maxRefs || rest != nil && r.RefsOrNone.UnmarshalText([]byte(strings.Join(rest, ","))) != nil {
		return fmt.Errorf("expected up to %d ids or keys of projects, comma separated, or none", maxRefs)
	}
	return nil
}

// TransformSchema is huma.SchemaTransformer.
func (*projectRefs) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	return setPattern(s, "^("+refPattern+"|[A-Z]{2,10}|none)(,("+refPattern+"|[A-Z]{2,10}|none))*$", "WEB")
}
