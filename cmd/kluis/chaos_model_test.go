package main

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// history has the requests of clients and their answers, for a judge that is not ours: porcupine, which looks for an order in which a single copy that does
// one thing at a time would give these answers (linearizability).
type history struct {
	begun time.Time

	mu  sync.Mutex
	ops []porcupine.Operation
}

// lost is the end of an operation whose answer was lost: it may have taken effect at any time since, or never.
const lost = int64(1) << 60

// record runs one operation. known is false when the answer was lost; none is true when the answer says that nothing was done.
func (h *history) record(client int, input any, do func() (output any, known, none bool)) (known bool) {
	call := time.Since(h.begun).Nanoseconds()
	output, known, none := do()
	end := time.Since(h.begun).Nanoseconds()
	if none {
		return true
	}
	if !known {
		end = lost
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: input, Call: call, Output: output, Return: end})
	return known
}

func (h *history) judge(t *testing.T, what string, model porcupine.Model) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	unknown := 0
	for _, op := range h.ops {
		if op.Return == lost {
			unknown++
		}
	}
	begun := time.Now()
	result := porcupine.CheckOperationsTimeout(model, h.ops, 2*time.Minute)
	t.Logf("%s: %d operations, %d of them with lost answers: %s after %s", what, len(h.ops), unknown, result, time.Since(begun).Round(time.Millisecond))
	if result != porcupine.Ok {
		t.Errorf("the history of %s is not shown to be linearizable: %s", what, result)
		h.show(t, model)
	}
}

// show prints the first part of the history without such an order, in the order of the calls.
func (h *history) show(t *testing.T, model porcupine.Model) {
	t.Helper()
	parts := [][]porcupine.Operation{h.ops}
	if model.Partition != nil {
		parts = model.Partition(h.ops)
	}
	for _, part := range parts {
		if porcupine.CheckOperationsTimeout(model, part, time.Minute) == porcupine.Ok {
			continue
		}
		slices.SortFunc(part, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
		for _, op := range part {
			end := fmt.Sprintf("%10.6f", float64(op.Return)/1e9)
			if op.Return == lost {
				end = "      lost"
			}
			t.Logf("%10.6f %s client %2d: %+v -> %+v", float64(op.Call)/1e9, end, op.ClientId, op.Input, op.Output)
		}
		return
	}
}

// The model of a task: a title, and how often it was changed.
type (
	taskOp struct {
		task    string
		write   string // the new title; empty for a read
		ifMatch int    // 0: none
	}
	taskState struct {
		version int
		title   string
	}
	taskAnswer struct {
		status int // 0: lost
		taskState
	}
)

var taskModel = porcupine.Model{
	Partition: func(all []porcupine.Operation) (parts [][]porcupine.Operation) {
		byTask := map[string][]porcupine.Operation{}
		for _, op := range all {
			task := op.Input.(taskOp).task
			byTask[task] = append(byTask[task], op)
		}
		for _, part := range byTask {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() any { return taskState{version: 1} },
	Step: func(state, input, output any) (bool, any) {
		is, op, answer := state.(taskState), input.(taskOp), output.(taskAnswer)
		next := taskState{is.version + 1, op.write}
		fits := op.ifMatch == 0 || op.ifMatch == is.version
		switch {
		case op.write == "":
			return answer.version == is.version && (is.version == 1 || answer.title == is.title), is
		case answer.status == 0 && fits:
			return true, next
		case answer.status == 0:
			return true, is
		case answer.status == 412:
			return !fits, is
		default:
			return fits && answer.version == next.version, next
		}
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
}

// The model of the roster: which of three members are admins; one always is.
type (
	roleOp struct {
		actor, target int
		admin         bool
		read          bool
	}
	roles      [3]bool
	roleAnswer struct {
		status int // 0: lost
		roles  roles
	}
)

var rosterModel = porcupine.Model{
	Init: func() any { return roles{true, true, true} },
	Step: func(state, input, output any) (bool, any) {
		is, op, answer := state.(roles), input.(roleOp), output.(roleAnswer)
		if op.read {
			return answer.roles == is, is
		}
		next := is
		next[op.target] = op.admin
		switch {
		case !is[op.actor]:
			return answer.status == 403 || answer.status == 0, is
		case next == roles{}:
			return answer.status == 409 || answer.status == 0, is
		default:
			return answer.status == 200 || answer.status == 0, next
		}
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
}

// The judge itself is tested: it rejects wrong histories.
func TestChaosJudge(t *testing.T) {
	t.Parallel()
	at := func(op taskOp, call, end int64, status, version int, title string) porcupine.Operation {
		return porcupine.Operation{Input: op, Call: call, Return: end, Output: taskAnswer{status, taskState{version, title}}}
	}
	write := func(title string) taskOp { return taskOp{task: "t", write: title} }
	for what, c := range map[string]struct {
		ops  []porcupine.Operation
		want bool
	}{
		"in order":         {[]porcupine.Operation{at(write("a"), 0, 1, 200, 2, ""), at(taskOp{task: "t"}, 2, 3, 200, 2, "a")}, true},
		"a stale read":     {[]porcupine.Operation{at(write("a"), 0, 1, 200, 2, ""), at(taskOp{task: "t"}, 2, 3, 200, 1, "")}, false},
		"a lost write":     {[]porcupine.Operation{at(write("a"), 0, 1, 200, 2, ""), at(write("b"), 2, 3, 200, 2, "")}, false},
		"answer lost, did": {[]porcupine.Operation{at(write("a"), 0, lost, 0, 0, ""), at(taskOp{task: "t"}, 2, 3, 200, 2, "a")}, true},
		"answer lost, not": {[]porcupine.Operation{at(write("a"), 0, lost, 0, 0, ""), at(taskOp{task: "t"}, 2, 3, 200, 1, "")}, true},
		"two of one version": {[]porcupine.Operation{
			at(taskOp{task: "t", write: "a", ifMatch: 1}, 0, 5, 200, 2, ""), at(taskOp{task: "t", write: "b", ifMatch: 1}, 0, 5, 200, 2, "")}, false},
	} {
		if got := porcupine.CheckOperations(taskModel, c.ops); got != c.want {
			t.Errorf("%s: %v, want %v", what, got, c.want)
		}
	}
	change := func(actor, target int, admin bool, call int64, status int) porcupine.Operation {
		return porcupine.Operation{Input: roleOp{actor: actor, target: target, admin: admin}, Call: call, Return: call + 1, Output: roleAnswer{status: status}}
	}
	nobody := []porcupine.Operation{change(0, 1, false, 0, 200), change(0, 2, false, 2, 200), change(0, 0, false, 4, 200)}
	if porcupine.CheckOperations(rosterModel, nobody) {
		t.Error("a roster without an admin passes")
	}
}
