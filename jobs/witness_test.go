package jobs

import (
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kluis-eu/kluis/internal/checkpoint"
	"github.com/kluis-eu/kluis/internal/checkpoint/witnesstest"
	"github.com/kluis-eu/kluis/internal/pg"
)

// A witness that does not answer is left alone for longer and longer, with all that waits; a log that it refuses, alone; and what is done, or
// cannot be done, waits no more.
func TestWitnessLoop(t *testing.T) {
	t.Parallel()
	public := make([]byte, 32)
	by, err := checkpoint.ParseWitness("https://w.example " + witnesstest.Key("w", public))
	if err != nil {
		t.Fatal(err)
	}
	all := newWitnesses([]*checkpoint.Witness{by}, 1)
	l := all.loops[0]
	one, two := pg.Workspace{ID: uuid.New()}, pg.Workspace{ID: uuid.New()}
	all.add(one, nil, checkpoint.Checkpoint{Size: 1})
	if in, c, wait := l.next(time.Now()); in != one || c.at.Size != 1 || wait > 0 || all.missed[one] != 1 {
		t.Errorf("%v %v %v", in, c, wait)
	}

	silent := &checkpoint.SilentError{Witness: "w", Err: errors.New("away")}
	for range 40 {
		l.told(one, toCosign{}, silent, false)
	}
	all.add(two, nil, checkpoint.Checkpoint{Size: 1})
	if in, _, wait := l.next(time.Now()); in != two || wait < witnessBack-time.Minute || wait > witnessBack {
		t.Errorf("a silent witness: %v %v", in, wait)
	}

	for range 40 {
		l.told(one, toCosign{}, &checkpoint.RefusedError{Status: 404}, false)
	}
	l.pause = time.Time{}
	if in, _, wait := l.next(time.Now()); in != two || wait > 0 || l.failures != 0 || time.Until(l.waiting[one].due) < refusalBack-time.Minute {
		t.Errorf("a refused log: %v %v %+v", in, wait, l.waiting[one])
	}
	all.add(one, nil, checkpoint.Checkpoint{Size: 2})
	if c := l.waiting[one]; c.at.Size != 2 || time.Until(c.due) < refusalBack-time.Minute {
		t.Errorf("a newer checkpoint of a refused log: %+v", c)
	}

	l.told(one, toCosign{}, &checkpoint.WentBackError{}, false)
	if !l.wentBack[one] || all.missed[one] != 1 {
		t.Error("a log that went back is not counted")
	}
	l.told(one, toCosign{at: checkpoint.Checkpoint{Size: 1}}, nil, false) // and a newer one waits
	if c := l.waiting[one]; c.at.Size != 2 || !c.due.IsZero() || l.wentBack[one] {
		t.Errorf("a newer checkpoint: %+v", c)
	}
	l.told(one, toCosign{at: checkpoint.Checkpoint{Size: 2}}, nil, false)
	l.told(two, toCosign{}, errors.New("there is no such schema"), false)
	if len(l.waiting) != 0 || len(all.missed) != 0 {
		t.Errorf("%v wait, %v are missed", l.waiting, all.missed)
	}
}
