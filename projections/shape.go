package projections

// Shape is the version of this program's folds. A change of the result of an Apply for existing events, or a new field of a state, takes the next
// number: shape_test.go fails otherwise.
//
// During a deploy two versions run side by side. The checkpoint says which folds wrote the rows: the newest (shape), and the oldest of which there
// may be rows (oldest).
//
//  1. A process with the newer shape continues from the present rows. With its first page the checkpoint has the newer shape.
//  2. From then on the older process does not fold, because it may not understand the rows. It reads the rows that the newer process folds. When
//     those are behind for too long, its answers say how many events are missing, or are 503.
//  3. The newer process rebuilds workspaces with rows of an older shape in the background (jobs/rebuild.go). After that all rows have the newer
//     shape, and the directory says so. One query of the directory finds the workspaces that remain.
//
// After a rollback of the program no process of the newer shape is left to fold. Then `kluis rebuild` of the older program gives the rows the older
// shape.
const Shape = 6
