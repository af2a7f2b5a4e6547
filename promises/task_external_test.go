package promises

import (
	"testing"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/domain"
)

// No two tasks have one external source and id, whatever races; one that gave a pair up leaves it to others, one that is deleted does not.
func TestExternalIDsAreUnique(t *testing.T) {
	t.Parallel()
	p := newProcesses(t, 2, false)
	ada := p[0].signUp(t)
	wanted := func(source, id any) object {
		return object{"title": "same", "external_source": source, "external_id": id}
	}
	rounds := 10
	if testing.Short() {
		rounds = 3
	}
	for round := range rounds {
		id := uuid.NewString()
		tasks := []domain.Task{ada.newTask(t, object{"title": "same"}), ada.newTask(t, object{"title": "same"})}
		answers := make([]reply, 8)
		parallel(len(answers), func(i int) {
			if at := ada.on(p[i%2]); i < len(tasks) {
				answers[i] = at.call(t, "PATCH", taskPath(tasks[i]), wanted("github", id))
			} else {
				answers[i] = at.call(t, "POST", "/api/tasks", wanted("github", id))
			}
		})
		var winner []domain.Task
		for _, a := range answers {
			if a.status/100 == 2 {
				winner = append(winner, decode[domain.Task](t, a))
			} else {
				a.problem(t, 409, "external_id_taken")
			}
		}
		if len(winner) != 1 || *winner[0].ExternalSource != "github" || *winner[0].ExternalID != id {
			t.Fatalf("%d tasks have one id", len(winner))
		}
		at := taskPath(winner[0])
		w := &walk{ada, t, ada.head(t)}
		w.step("PATCH", at, wanted("github", id), 200, 0)
		if round%2 == 0 {
			w.step("DELETE", at, nil, 204, 1)
			w.call(t, "POST", "/api/tasks", wanted("github", id)).problem(t, 409, "external_id_taken")
			w.step("POST", at+"/restore", nil, 200, 1)
		}
		w.step("PATCH", at, wanted("github", id+"b"), 200, 3)
		w.step("PATCH", at, wanted(nil, nil), 200, 2)
		w.step("POST", "/api/tasks", wanted("github", id), 201, 2)
		w.step("PATCH", at, wanted("github", id+"b"), 200, 2)
	}
	ada.call(t, "POST", "/api/tasks", object{"title": "x", "external_source": "s"}).refusedAs(t, "half a pair", 422, "/external_id")
	ada.call(t, "POST", "/api/tasks", object{"title": "x", "external_id": "s"}).refusedAs(t, "half a pair", 422, "/external_source")
	ada.call(t, "POST", "/api/tasks", wanted(" ", "x")).refusedAs(t, "blank", 422, "/external_source")
	task := ada.newTask(t, wanted("one", "1"))
	ada.call(t, "PATCH", taskPath(task), object{"external_source": nil}).refusedAs(t, "half a pair", 422, "/external_source")
	ada.newTask(t, wanted("on", "e1"))
	ada.judge(t)
	ada.noDrift(t)
}
