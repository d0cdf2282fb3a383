/*
 * Messages as bytes.  For the files of common/cluster alone.
 */
#ifndef EAVES_CLUSTER_WIRE_H
#define EAVES_CLUSTER_WIRE_H

#include "common/cluster/peer.h"
#include "common/store/store.h"
#include "proto/cluster.pb-c.h"

void put_u64(uint8_t *to, uint64_t v);
uint64_t get_u64(const uint8_t *from);
void put_u32(uint8_t *to, uint32_t v);
uint32_t get_u32(const uint8_t *from);
uint8_t *buffer_room(struct buffer *b, size_t n); /* NULL: out of memory */
struct store_row row_of(const struct record *rec);
size_t row_bytes(const struct store_row *row);
size_t row_write(const struct store_row *row, uint8_t *out);
bool row_read(struct cluster *c, ProtobufCBinaryData d, struct store_row *ret);
/* NULL: damaged.  It is in c->arena, until the next one. */
Eaves__Envelope *wire_read(struct cluster *c, struct span bytes);
bool wire_speaks(unsigned version, unsigned oldest);
/* Adds versions, boots and what is to be acknowledged.  As ops->send, or -EMSGSIZE, -ENOMEM. */
int wire_send(struct peer *p, Eaves__Envelope *e);

#endif
