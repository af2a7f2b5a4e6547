package limit

import (
	"sync"
	"time"

	"github.com/google/uuid"
)

// members counts the API requests of members in this process. Where several processes serve, a member has the limit in each.
type members struct {
	rule Rule

	mu    sync.Mutex
	of    map[uuid.UUID][]time.Time // by member: the requests in the window, the oldest first
	swept time.Time
}

// Quota is what is left of a limit. The zero value is no limit.
type Quota struct {
	Rule
	Left int           // how many more requests there may be now; below 0 when this one was too many
	Wait time.Duration // until there is room for one more than Left
}

// Member counts one request of a member, and returns what is left. When there is no room, Left is below 0, and the request does not count.
func (l *Limits) Member(id uuid.UUID) Quota {
	if l == nil || l.members.rule.Most == 0 {
		return Quota{}
	}
	return l.members.reserve(id, time.Now())
}

// Return takes back one request of a member that was counted, and that will be counted again.
func (l *Limits) Return(id uuid.UUID) {
	if l != nil && l.members.rule.Most > 0 {
		l.members.giveBack(id)
	}
}

func (m *members) giveBack(id uuid.UUID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch n := len(m.of[id]); {
	case n > 1:
		m.of[id] = m.of[id][:n-1]
	default:
		delete(m.of, id)
	}
}

func (m *members) reserve(id uuid.UUID, now time.Time) Quota {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sweep(now)
	hits := m.of[id]
	start := now.Add(-m.rule.Span)
	old := 0
	for old < len(hits) && !hits[old].After(start) {
		old++
	}
	if old > len(hits)/2 { // copy now and then, so that the slice does not wander through memory
		hits, old = append(hits[:0:0], hits[old:]...), 0
	}
	hits = hits[old:]
	if len(hits) >= m.rule.Most {
		m.of[id] = hits
		return Quota{m.rule, -1, hits[len(hits)-m.rule.Most].Sub(start)}
	}
	hits = append(hits, now)
	m.of[id] = hits
	return Quota{m.rule, m.rule.Most - len(hits), hits[0].Sub(start)}
}

// sweep forgets, once in a window, the members who made no request in the last one.
func (m *members) sweep(now time.Time) {
	if m.of == nil {
		m.of, m.swept = map[uuid.UUID][]time.Time{}, now
	}
	if now.Sub(m.swept) < m.rule.Span {
		return
	}
	m.swept = now
	for id, hits := range m.of {
		if !hits[len(hits)-1].After(now.Add(-m.rule.Span)) {
			delete(m.of, id)
		}
	}
}
