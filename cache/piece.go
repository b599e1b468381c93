package cache

import "cmp"

// A node serves nothing else while it processes a piece of a batch, so a piece
// must take a small part of the time within which a node must answer.
const (
	maxPiece      = 256     // keys
	firstPiece    = 64      // keys to read while the size of entries is unknown
	pieceBytes    = 1 << 20 // to read, judged by the largest entry of the previous piece
	droppedAtOnce = 2       // pieces of deletions in flight to one node
	askedAtOnce   = 128     // keys of a FetchMany that are asked for at once
)

// nextPiece returns how many keys to read at once.
func (n *node) nextPiece() int { return cmp.Or(int(n.piece.Load()), firstPiece) }

// learnPiece adapts the size of the next piece to one that was read. It doubles
// after a full piece, unless entries are too large for that.
func (n *node) learnPiece(piece, read, largest int) {
	if read == piece {
		piece *= 2
	}
	n.piece.Store(int32(max(1, min(piece, maxPiece, pieceBytes/max(largest, 1)))))
}
