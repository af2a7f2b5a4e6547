package domain

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"
)

// After any sequence of puts each task is in its place, no two tasks have the same rank, and a new task comes last.
func TestRanksKeepTheOrder(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		var tasks []Task // in the manual order
		head := rapid.SampledFrom([]int64{0, 60, 62*62 - 3, 1 << 40}).Draw(r, "head")
		for range rapid.IntRange(1, 300).Draw(r, "moves") {
			if head++; len(tasks) < 2 || rapid.IntRange(0, 9).Draw(r, "new") == 0 {
				tasks = append(tasks, Task{ID: uuid.New(), Rank: firstRank(head)})
				continue
			}
			from := rapid.IntRange(0, len(tasks)-1).Draw(r, "from")
			task := tasks[from]
			tasks = slices.Delete(tasks, from, from+1)
			to := rapid.SampledFrom([]int{0, len(tasks), 1, rapid.IntRange(0, len(tasks)).Draw(r, "somewhere")}).Draw(r, "to")
			var gap RankGap
			if to > 0 {
				gap.Low = tasks[to-1].Rank
			}
			if to < len(tasks) {
				gap.High = tasks[to].Rank
			}
			events, err := task.Put(gap, head)
			if err != nil {
				r.Fatal(err)
			}
			for _, e := range events {
				task.Rank = e.(TaskRanked).Rank
			}
			tasks = slices.Insert(tasks, to, task)
			for i := 1; i < len(tasks); i++ {
				if strings.Compare(tasks[i-1].Rank, tasks[i].Rank) >= 0 {
					r.Fatalf("%q is not before %q", tasks[i-1].Rank, tasks[i].Rank)
				}
			}
		}
	})
}

// Thousands of tasks can be put between the same two. There is always room before the first task and behind the last.
func TestRoomBetweenRanks(t *testing.T) {
	top, low, high := Task{Rank: firstRank(7)}, firstRank(5), firstRank(6)
	n := 0
	for ; ; n++ {
		events, err := Task{Rank: firstRank(int64(100 + n))}.Put(RankGap{Low: low, High: high}, 10_000)
		if err != nil {
			if refusal, is := Refusal(err); !is || refusal.Code != "no_room" {
				t.Error(err)
			}
			break
		}
		high = events[0].(TaskRanked).Rank
		events, err = Task{Rank: firstRank(int64(100 + n))}.Put(RankGap{High: top.Rank}, 10_000)
		if err != nil {
			t.Fatal(err)
		}
		top.Rank = events[0].(TaskRanked).Rank
	}
	if n < 2000 || len(top.Rank) != 2*rankOwn-1 {
		t.Errorf("room for %d; the first is %q", n, top.Rank)
	}
}
