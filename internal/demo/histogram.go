package demo

import (
	"math"
	"time"
)

// histogram keeps durations in buckets that are 2 % apart, so that any number of them takes the same room.
type histogram struct {
	buckets [buckets]int
	n       int
}

const (
	growth  = 1.02
	buckets = 1400 // the last begins after 17 minutes
)

func (h *histogram) add(d time.Duration) {
	i := 0
	if d > time.Nanosecond {
		i = min(buckets-1, int(math.Log(float64(d))/math.Log(growth)))
	}
	h.buckets[i]++
	h.n++
}

// percentile is the duration that p percent of all do not exceed (nearest rank), 1 % off at most; 0 when there are none.
func (h *histogram) percentile(p float64) time.Duration {
	rank := max(1, int(math.Ceil(p/100*float64(h.n))))
	for i, n := range h.buckets {
		if rank -= n; rank <= 0 && n > 0 {
			return time.Duration(math.Pow(growth, float64(i)+0.5))
		}
	}
	return 0
}
