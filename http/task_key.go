package http

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humaecho"

	"github.com/kluis-eu/kluis/domain"
)

// taskPath is what the paths of a task, and of what belongs to it, begin with.
const taskPath = "/api/tasks/{id}"

// taskParams are the parameters of such paths that are a task.
var taskParams = []string{"id", "other_id"}

// taskKeys lets a key such as WEB-12, in capitals or not, stand in a path where the id of a task does. The meaning of a key never changes, so the key is looked up
// before anything is decided. A key of a task that the caller may not see goes on as the task's id, and ends where that one does.
func (a *api) taskKeys(ctx huma.Context, next func(huma.Context)) {
	c, x := humaecho.UnwrapV4(ctx), exchangeOf(ctx.Context())
	values := slices.Clone(c.ParamValues())
	keys := map[int]string{} // by their places among the values
	for i, name := range c.ParamNames() {
		if key, is := domain.ReadTaskKey(values[i]); is && slices.Contains(taskParams, name) {
			keys[i] = key
		}
	}
	if x.actor == nil || !strings.HasPrefix(ctx.Operation().Path, taskPath) || len(keys) == 0 {
		next(ctx)
		return
	}
	if err := x.known(); err != nil {
		refuse(ctx, err)
		return
	}
	within, cancel := context.WithTimeout(ctx.Context(), answerTimeout)
	defer cancel()
	found, err := a.Projections.TasksOfKeys(within, *x.actor, slices.Collect(maps.Values(keys)))
	for i, key := range keys {
		id, there := found[key]
		if err == nil && !there {
			err = domain.Missing("task")
		}
		values[i] = id.String()
	}
	if err != nil {
		refuse(ctx, err)
		return
	}
	c.SetParamValues(values...)
	next(ctx)
}

// orKeys says to whoever sent no id of a task that a key would do.
func (x *exchange) orKeys(found []fault) []fault {
	for i, f := range found {
		if x.op != nil && strings.HasPrefix(x.op.Path, taskPath) && f.In == "path" && slices.Contains(taskParams, strings.TrimPrefix(f.Pointer, "/")) {
			found[i].Detail = "expected a UUID or a key such as WEB-12"
		}
	}
	return found
}

// allowTaskKey says in the schema that the id of a task may be a key.
func allowTaskKey(path string, parameters []*huma.Param) {
	if !strings.HasPrefix(path, taskPath) {
		return
	}
	for _, p := range parameters {
		if p.In == "path" && slices.Contains(taskParams, p.Name) {
			p.Description = map[string]string{"id": "The id of the task, or a key of it, such as WEB-12.", "other_id": "The id of the other task, or a key of it."}[p.Name]
			p.Schema = &huma.Schema{Type: huma.TypeString, Pattern: `^([0-9a-fA-F-]{36}|` + domain.TaskKeyForm + `)$`, Examples: []any{"WEB-12"}}
		}
	}
}
