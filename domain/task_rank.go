package domain

import "strings"

// A rank is a fraction in base 62, written without the leading "0.". Between any two fractions there is another one, so a task is put
// anywhere with one event of that task (fractional indexing: Figma, "Realtime Editing of Ordered Sequences", 2017).
//
// The last ten digits of every rank are the position at which the task was created. They keep concurrent commands from giving two tasks
// the same rank, and put a new task behind all others. The digits before them are the place to which the task was put.
const (
	rankDigits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" // in the order of their bytes
	rankOwn    = 10

	// MaxRank is the largest number of digits of a rank. It is reached after some 2,400 tasks were put between the same two.
	MaxRank = 500
)

// firstRank is the rank of a task that was never put. Its first digit leaves room before it, and its last digit is never zero, because a
// fraction does not end in zero.
func firstRank(position int64) string {
	own := []byte("V000000001")
	for i := rankOwn - 2; i > 0; i-- {
		own[i] = rankDigits[position%62]
		position /= 62
	}
	return string(own)
}

// RankGap is the place for a task: behind the rank Low and before the rank High. A rank is empty when there is no task on that side.
type RankGap struct{ Low, High string }

// Put gives the task a place in the manual order. head is the position of the log at which the gap was read. A task that is put last stays
// before the tasks that are created after head.
func (t Task) Put(gap RankGap, head int64) ([]Event, error) {
	if gap.High == "" {
		gap.High = firstRank(head + 1)
	}
	if gap.Low <= t.Rank && t.Rank <= gap.High { // the task is in this place already, perhaps as one side of the gap
		return nil, nil
	}
	own := t.Rank[len(t.Rank)-rankOwn:]
	rank := before(gap.High)
	if gap.Low != "" || rank == "" {
		rank = between(gap.Low, gap.High)
	}
	if rank += own; len(rank) > MaxRank {
		return nil, Refuse(Conflict, "no_room", "too many tasks were put between these two: put the task one place further, or move one of the two first")
	}
	return []Event{TaskRanked{Rank: rank}}, nil
}

// between gives the shortest fraction that stays between low and high with any digits behind it.
func between(low, high string) string {
	var digits strings.Builder
	below := false // the digits so far are less than those of high
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

// before gives a place before the first task: the next smaller number with as many digits as a first rank. So ranks do not grow when each
// task is put before all others. The result is empty when there is no such number.
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
