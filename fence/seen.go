package fence

// How a storage orders writers and readers.
//
// What the nodes promise (see internal/quorumlock/shared.go and agree.go): a
// writer has a token of its own, above those of all holders before it. Readers
// draw none. A reader's token is at least those of all writers before it, and
// below those of all writers after it. So
//
//   - the readers of one process share a token, while one of them holds the key;
//   - readers of several processes have equal tokens, or different ones if a
//     writer failed in between or a node's counter started anew from its clock, and
//     all of them are right at once;
//   - the last writer before a reader may have the reader's token: it does if it
//     had the last of its block, as every lease has, and nothing moved the counter;
//   - a writer that downgrades becomes a reader with the last token of its block,
//     which may be the one that it wrote with, and writes no more.
//
// Hence the rank of a holder: twice its token for a writer, and one more for a
// reader. If one of two holders is a writer and the other came after it, the
// other has the larger rank, whichever of them reads. A check is refused if a
// larger rank was seen of a holder that it conflicts with: a writer by all, a
// reader by writers. In tokens, a writer's must be at least that of every
// writer, and above that of every reader; a reader's must be at least that of
// every writer. One number for the newest token of both modes would not do:
// after a reader with the token of the writer before it, that writer's late
// write would pass.

// seen is what a storage knows of a key: the newest token of a writer, and that
// of a reader. 0: there was none.
type seen struct{ writer, reader int64 }

// judgement is seen.write or seen.read.
type judgement func(s seen, key string, token int64) (seen, error)

// write returns what is known after a writer's check.
func (s seen) write(key string, token int64) (seen, error) {
	switch {
	case s.reader >= max(token, s.writer):
		return s, &StaleError{Key: key, Token: token, Newest: s.reader, Reader: true}
	case s.writer > token:
		return s, &StaleError{Key: key, Token: token, Newest: s.writer}
	}
	return seen{token, s.reader}, nil
}

// read returns what is known after a reader's check.
func (s seen) read(key string, token int64) (seen, error) {
	if s.writer > token {
		return s, &StaleError{Key: key, Token: token, Newest: s.writer}
	}
	return seen{s.writer, max(s.reader, token)}, nil
}

// writerRank and readerRank are the ranks of holders, for statements that
// return one number.
func writerRank(token int64) int64 { return 2 * token }
func readerRank(token int64) int64 { return 2*token + 1 }

// outranked is the error of a check after which the newest rank is above its
// own.
func outranked(key string, token, newest int64) *StaleError {
	return &StaleError{Key: key, Token: token, Newest: newest / 2, Reader: newest%2 == 1}
}
