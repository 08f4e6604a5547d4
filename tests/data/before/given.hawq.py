# Put this entry into bit_config.py of Zhen-Dong/HAWQ and choose it
# with --arch tiny --quant-scheme bitdial. Scales are measured anew there.
# HAWQ has no class for this network: you need one with modules of these names.
bit_config_dict = {
"bit_config_tiny_bitdial": {
'quant_input': 8,
'quant_init_block_convbn': 8,
'stage1.unit1.quant_act': 8,
'stage1.unit1.quant_convbn1': 4,
'stage1.unit1.quant_act1': 8,
'stage1.unit1.quant_convbn2': 4,
'stage1.unit1.quant_identity_convbn': 4,
'quant_act_output': 8,
'quant_output': 8,
'quant_act_int32': 16,
'stage1.unit1.quant_act_int32': 16,
},
}
