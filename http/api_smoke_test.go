package http_test

import (
	"testing"
	"time"
)

func TestSmoke(t *testing.T) {
	begun := time.Now()
	lap := func(what string) { t.Log(what, time.Since(begun)); begun = time.Now() }
	p := newProcesses(t, 2, false)
	lap("processes")
	ada := p[0].signUp(t)
	lap("signup")
	bob := ada.member(t, "member")
	lap("member")
	task := bob.newTask(t)
	lap("task")
	for range 50 {
		bob.newTask(t)
	}
	lap("50 tasks")
	ada.call(t, "GET", "/api/tasks", nil).want(t, 200)
	lap("list")
	for range 50 {
		ada.call(t, "GET", taskPath(task), nil).want(t, 200)
	}
	lap("50 get")
	ada.on(p[1]).call(t, "GET", taskPath(task, "history"), nil).want(t, 200)
	lap("history")
	ada.log(t)
	ada.noDrift(t)
	lap("drift")
	p[0].site.newProcess(t, true)
	ada.member(t, "viewer")
	lap("member with bg")
}
