package cache

import "cmp"

// A node does nothing else while it does a piece of a batch, so a piece has to
// be a small part of the time that it has to answer.
const (
	maxPiece      = 256     // keys
	firstPiece    = 64      // keys to read, when nothing is known of the size of entries
	pieceBytes    = 1 << 20 // to read, by the largest entry of the piece before
	droppedAtOnce = 2       // pieces that are dropped on their way to one node
	askedAtOnce   = 128     // keys of a FetchMany
)

// nextPiece is how many keys to read at once.
func (n *node) nextPiece() int { return cmp.Or(int(n.piece.Load()), firstPiece) }

// learnPiece fits the next piece to one that was read: twice as many keys if
// that was a whole one and entries are not so large.
func (n *node) learnPiece(piece, read, largest int) {
	if read == piece {
		piece *= 2
	}
	n.piece.Store(int32(max(1, min(piece, maxPiece, pieceBytes/max(largest, 1)))))
}
