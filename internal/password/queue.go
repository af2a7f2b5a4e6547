package password

import (
	"context"
	"slices"
	"sync"
)

// queue hands out slots by turns, one to each network from which a caller waits. When all places are taken, a newcomer from a network with a
// shorter line takes the place of the last one in the longest line. So a sender who fills the queue from one network waits behind its own
// requests, and the others wait for about one hash for each network.
type queue struct {
	mu      sync.Mutex
	slots   int
	free    int // slots
	places  int
	waiting int
	lines   map[string][]chan error // of each network, the one that waits longest first; nil means that the slot is the receiver's
	turns   []string                // the networks with a line, the next one first
}

func newQueue(slots, places int) *queue {
	return &queue{slots: slots, free: slots, places: places, lines: map[string][]chan error{}}
}

func (q *queue) load() (running, waiting int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.slots - q.free, q.waiting
}

// enter waits for a slot. The error is ErrBusy when there is no place to wait in.
func (q *queue) enter(ctx context.Context, network string) error {
	turn, err := q.join(network)
	if turn == nil || err != nil {
		return err
	}
	select {
	case err := <-turn:
		return err
	case <-ctx.Done():
	}
	if q.leave(network, turn) {
		return ctx.Err()
	}
	if err := <-turn; err != nil { // another goroutine has decided meanwhile
		return err
	}
	q.exit()
	return ctx.Err()
}

// join takes a free slot and returns nil, or joins the network's line.
func (q *queue) join(network string) (chan error, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.free > 0 {
		q.free--
		return nil, nil
	}
	if q.waiting == q.places && !q.makeRoom(network) {
		return nil, ErrBusy
	}
	turn := make(chan error, 1)
	if len(q.lines[network]) == 0 {
		q.turns = append(q.turns, network)
	}
	q.lines[network] = append(q.lines[network], turn)
	q.waiting++
	return turn, nil
}

// makeRoom sends away the last one of the longest line, if that line is longer than the network's would become.
func (q *queue) makeRoom(network string) bool {
	longest := network
	for n, line := range q.lines {
		if len(line) > len(q.lines[longest]) {
			longest = n
		}
	}
	line := q.lines[longest]
	if len(line) <= len(q.lines[network])+1 {
		return false
	}
	last := line[len(line)-1]
	q.remove(longest, last)
	last <- ErrBusy
	return true
}

// leave gives a place up, unless the turn has come.
func (q *queue) leave(network string, turn chan error) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.remove(network, turn)
}

func (q *queue) remove(network string, turn chan error) bool {
	i := slices.Index(q.lines[network], turn)
	if i < 0 {
		return false
	}
	q.waiting--
	if q.lines[network] = slices.Delete(q.lines[network], i, i+1); len(q.lines[network]) == 0 {
		delete(q.lines, network)
		q.turns = slices.DeleteFunc(q.turns, func(n string) bool { return n == network })
	}
	return true
}

// exit gives the slot to the first one in the next network's line.
func (q *queue) exit() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.turns) == 0 {
		q.free++
		return
	}
	network := q.turns[0]
	next := q.lines[network][0]
	q.turns = append(q.turns[1:], network)
	q.remove(network, next)
	next <- nil
}
