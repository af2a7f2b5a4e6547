package domain

import "strings"

// A rank is a fraction in base 62, written without the leading "0.": between any two there is another one, so that a task is put
// anywhere with one event, of that task alone (fractional indexing: Figma, "Realtime Editing of Ordered Sequences", 2017).
//
// Every rank ends in the ten digits that are the task's own. They are made of the position at which the task was created, so that no
// two tasks have one rank, whatever races, and a new task comes behind all others. The digits before them say where the task was put.
const (
	rankDigits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" // in the order of their bytes
	rankOwn    = 10

	// MaxRank is how long a rank is at most: some 2,400 tasks that were put one after the other between the same two.
	MaxRank = 500
)

// firstRank is the rank of a task that nobody put anywhere. The first digit leaves room before it, and the last is never zero, as
// none is that ends a fraction.
func firstRank(position int64) string {
	own := []byte("V000000001")
	for i := rankOwn - 2; i > 0; i-- {
		own[i] = rankDigits[position%62]
		position /= 62
	}
	return string(own)
}

// RankGap is where a task is to be put: behind the rank Low and before the rank High. They are empty when there is no such task.
type RankGap struct{ Low, High string }

// Put gives the task a place in the order by hand. head is the position of the log at which the gap was looked up: who is put last
// stays before the tasks that are made later.
func (t Task) Put(gap RankGap, head int64) ([]Event, error) {
	if gap.High == "" {
		gap.High = firstRank(head + 1)
	}
	if gap.Low <= t.Rank && t.Rank <= gap.High { // it is there, perhaps as the other side of the gap itself
		return nil, nil
	}
	own := t.Rank[len(t.Rank)-rankOwn:]
	rank := before(gap.High)
	if gap.Low != "" || rank == "" {
		rank = between(gap.Low, gap.High)
	}
	if rank += own; len(rank) > MaxRank {
		return nil, Refuse(Conflict, "no_room", "too many tasks were put in this place: put it one task further, or put one of the two beside it elsewhere first")
	}
	return []Event{TaskRanked{Rank: rank}}, nil
}

// between gives the shortest fraction behind low and before high that stays so whatever digits follow.
func between(low, high string) string {
	var digits strings.Builder
	below := false // high already, by a digit that was written
	for i := 0; ; i++ {
		l, h := rankDigit(low, i), len(rankDigits)
		if !below {
			h = rankDigit(high, i)
		}
		if h-l > 1 {
			digits.WriteByte(rankDigits[(l+h)/2])
			return digits.String()
		}
		digits.WriteByte(rankDigits[l])
		below = below || l < h
	}
}

// before gives a place before the first task: the next smaller number of as many digits as a first rank has, so that ranks do not
// grow when each task is put before all others. It is empty when there is none.
func before(high string) string {
	digits := []byte(high[:rankOwn-1])
	for i := len(digits) - 1; i >= 0; i-- {
		if n := rankDigit(high, i); n > 0 {
			digits[i] = rankDigits[n-1]
			return string(digits)
		}
		digits[i] = rankDigits[len(rankDigits)-1]
	}
	return ""
}

func rankDigit(rank string, i int) int {
	if i >= len(rank) {
		return 0
	}
	return strings.IndexByte(rankDigits, rank[i])
}
