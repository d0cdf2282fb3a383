/*
 * A short way for the bodies of records (records.proto): messages of bytes, uint32, uint64,
 * fixed64 and bool fields, read in place and written in one pass, by protobuf-c's own
 * descriptors.  Whatever is not that (fields unknown here, other types, damage) is left to
 * protobuf-c, which alone refuses.
 */
#ifndef EAVES_PROTO_FLAT_H
#define EAVES_PROTO_FLAT_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

/* Fills m, a struct of descriptor d; bytes fields point into p.  False: not taken, m is spoilt;
 * ask protobuf-c. */
bool flat_unpack(const ProtobufCMessageDescriptor *d, const uint8_t *p, size_t n,
		 ProtobufCMessage *m);

/* Bytes that flat_pack wants at most; 0: not for it (unknown fields, other types). */
size_t flat_pack_max(const ProtobufCMessage *m);
/* Writes what protobuf_c_message_pack writes, to the byte; how much. */
size_t flat_pack(const ProtobufCMessage *m, uint8_t *out);

#endif
