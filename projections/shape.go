package projections

// Shape is the number of this program's folds. Whoever changes what an Apply makes of events that there are, or adds a field to a
// state, gives it the next number: shape_test.go notices.
//
// It lies beside the checkpoint, because at a deploy two versions run side by side:
//
//  1. A process whose shape is the older one does not fold. It reads what the newer one folds, and when that is too slow its
//     answers say how much is missing, or 503.
//  2. A process whose shape is the newer one goes on with the rows as they are, and rebuilds them in the background: then the
//     checkpoint gets its shape.
const Shape = 1
