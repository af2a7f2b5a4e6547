package demo

import (
	"math"
	"testing"
	"time"
)

func TestPercentile(t *testing.T) {
	var h histogram
	if got := h.percentile(99); got != 0 {
		t.Errorf("of nothing: %s", got)
	}
	for i := 1; i <= 1000; i++ {
		h.add(time.Duration(i) * time.Millisecond)
	}
	for p, want := range map[float64]time.Duration{
		0: time.Millisecond, 50: 500 * time.Millisecond, 99: 990 * time.Millisecond, 99.9: 999 * time.Millisecond, 100: time.Second,
	} {
		if got := h.percentile(p); math.Abs(float64(got)/float64(want)-1) > 0.011 {
			t.Errorf("p%g = %s, want %s", p, got, want)
		}
	}
	h = histogram{}
	h.add(0)
	h.add(1000 * time.Hour) // more than there are buckets for
	if lowest, highest := h.percentile(50), h.percentile(100); lowest > 2 || highest < 15*time.Minute {
		t.Errorf("%s to %s", lowest, highest)
	}
}

func TestWritten(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 11013: "11,013", 1234567: "1,234,567"} {
		if got := thousands(n); got != want {
			t.Errorf("%d is %s", n, got)
		}
	}
	for d, want := range map[time.Duration]string{
		1234567: "1.2ms", 12345678: "12ms", 123456: "123µs", 3456 * time.Millisecond: "3.456s",
	} {
		if got := short(d); got != want {
			t.Errorf("%d is %s", d, got)
		}
	}
}
