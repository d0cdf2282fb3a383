/*
 * Certificates made by the tests: one authority, leaves with the names wanted, as PEM files in
 * a directory of their own.
 */
#ifndef EAVES_TESTS_NET_CERTS_H
#define EAVES_TESTS_NET_CERTS_H

#include "tests/unit/unit.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

struct authority {
	EVP_PKEY *key;
	X509 *cert;
	char dir[64];
	char file[96];
	long serial;
	long lasts_s; /* 0: a day */
};

static void add_extension(X509 *c, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *e;

	X509V3_set_ctx(&ctx, issuer, c, NULL, NULL, 0);
	e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	ck_assert_ptr_nonnull(e);
	ck_assert_int_eq(X509_add_ext(c, e, -1), 1);
	X509_EXTENSION_free(e);
}

static X509 *make_cert(struct authority *a, EVP_PKEY *key, const char *cn)
{
	X509 *c = X509_new();
	X509_NAME *name = X509_get_subject_name(c);

	X509_set_version(c, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(c), ++a->serial);
	X509_gmtime_adj(X509_getm_notBefore(c), -3600);
	X509_gmtime_adj(X509_getm_notAfter(c), a->lasts_s ? a->lasts_s : 86400);
	X509_set_pubkey(c, key);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)cn, -1, -1,
				   0);
	X509_set_issuer_name(c, a->cert ? X509_get_subject_name(a->cert) : name);
	return c;
}

static void write_pem(const char *file, X509 *cert, EVP_PKEY *key)
{
	FILE *f = fopen(file, "w");

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fchmod(fileno(f), 0600), 0);
	if (cert)
		ck_assert_int_eq(PEM_write_X509(f, cert), 1);
	if (key)
		ck_assert_int_eq(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), 1);
	fclose(f);
}

static void authority_start(struct authority *a)
{
	*a = (struct authority){0};
	strcpy(a->dir, "/tmp/eaves-certs-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(a->dir));
	a->key = EVP_EC_gen("P-256");
	a->cert = make_cert(a, a->key, "test authority");
	add_extension(a->cert, a->cert, NID_basic_constraints, "critical,CA:TRUE");
	X509_sign(a->cert, a->key, EVP_sha256());
	snprintf(a->file, sizeof(a->file), "%s/ca.pem", a->dir);
	write_pem(a->file, a->cert, NULL);
}

static void authority_stop(struct authority *a)
{
	char command[128];

	X509_free(a->cert);
	EVP_PKEY_free(a->key);
	snprintf(command, sizeof(command), "rm -rf '%s'", a->dir);
	ck_assert_int_eq(system(command), 0);
}

/* Writes <name>.pem, certificate and key.  alt: "DNS:a,URI:sip:b", NULL: none; use: NULL: any.
 */
static void leaf(struct authority *a, const char *name, const char *cn, const char *alt,
		 const char *use)
{
	char file[128];
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *c = make_cert(a, key, cn);

	if (alt)
		add_extension(c, a->cert, NID_subject_alt_name, alt);
	if (use)
		add_extension(c, a->cert, NID_ext_key_usage, use);
	X509_sign(c, a->key, EVP_sha256());
	snprintf(file, sizeof(file), "%s/%s.pem", a->dir, name);
	write_pem(file, c, key);
	X509_free(c);
	EVP_PKEY_free(key);
}

#endif
