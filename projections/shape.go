package projections

// Shape is the number of this program's folds. Whoever changes what an Apply makes of events that there are, or adds a field to a
// state, gives it the next number: shape_test.go notices.
//
// At a deploy two versions run side by side, so the checkpoint says which folds wrote the rows: the newest that did (shape), and
// the oldest that a row may be of (oldest).
//
//  1. A process whose shape is the newer one goes on with the rows as they are. With its first page the checkpoint has its shape.
//  2. From then on the older process does not fold. It reads what the newer one folds, and when that takes too long its answers
//     say how much is missing, or are 503. So nobody folds on top of rows that they do not understand.
//  3. The newer process rebuilds in the background (jobs/rebuild.go) what has rows of an older shape: then all rows are of its own,
//     and so says the directory, from which one query tells what is left to do.
//
// Behind a roll back nobody is left who folds. Then `kluis rebuild` of the older program makes the rows its own again.
const Shape = 6
